//! A configuration as a list of keys and values.

use serde::Serialize;

/// Every value by its dotted key, in the order of the TOML file.
pub fn flat(config: &impl Serialize) -> Vec<(String, String)> {
    fn walk(prefix: &str, value: &toml::Value, out: &mut Vec<(String, String)>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&key, value, out);
                }
            }
            other => out.push((prefix.to_string(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    // By way of the text: a value made from an f32 would show all digits of an f64.
    if let Some(value) = toml::to_string(config).ok().and_then(|text| toml::from_str(&text).ok()) {
        walk("", &value, &mut out);
    }
    out
}

/// The first key, but for those that are free, whose values differ, and both values; "nothing" where there is none.
pub fn first_difference(
    before: &impl Serialize,
    now: &impl Serialize,
    free: impl Fn(&str) -> bool,
) -> Option<(String, String, String)> {
    let (before, now) = (flat(before), flat(now));
    let value = |list: &[(String, String)], key: &str| {
        list.iter().find(|(k, _)| k == key).map_or_else(|| "nothing".to_string(), |(_, v)| v.clone())
    };
    let keys = before.iter().chain(&now).map(|(key, _)| key).filter(|key| !free(key));
    keys.map(|key| (key.clone(), value(&before, key), value(&now, key))).find(|(_, before, now)| before != now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Outer {
        inner: Inner,
        name: &'static str,
    }

    #[derive(Serialize)]
    struct Inner {
        mean: [f32; 2],
        none: Option<u32>,
    }

    #[test]
    fn values_read_as_they_were_written() {
        let config = Outer { inner: Inner { mean: [0.485, 0.5], none: None }, name: "a" };
        let mut flat = flat(&config);
        flat.sort();
        let own = |key: &str, value: &str| (key.to_string(), value.to_string());
        assert_eq!(flat, [own("inner.mean", "[0.485, 0.5]"), own("name", "\"a\"")]);
    }
}
