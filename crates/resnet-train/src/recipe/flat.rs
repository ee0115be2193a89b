//! A configuration as a list of keys and values.

use serde::Serialize;

/// Every value by its dotted key, in the order of the TOML file.
pub(crate) fn flat(config: &impl Serialize) -> Vec<(String, String)> {
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
    if let Ok(value) = toml::Value::try_from(config) {
        walk("", &value, &mut out);
    }
    out
}

/// The first key, but for those that are free, whose values differ, and both values; "nothing" where there is none.
pub(crate) fn first_difference(
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
