//! The page's style for charts, with its variables replaced: programs that draw SVG files know no variables.

use super::STYLE;

/// A `<style>` element and a ground for an SVG file.
pub(super) fn style() -> String {
    let light = STYLE.split('}').next().unwrap_or_default();
    let variables: Vec<(&str, &str)> =
        light.split([';', '{']).filter_map(|line| line.trim().strip_prefix("--")?.split_once(": ")).collect();
    let mut rules = String::new();
    for line in STYLE.lines().filter(|line| line.starts_with("svg ")) {
        let mut line = line.to_owned();
        for (name, value) in &variables {
            line = line.replace(&format!("var(--{name})"), value);
        }
        rules += &line;
        rules.push('\n');
    }
    let ground = variables.iter().find(|(name, _)| *name == "ground").map_or("#ffffff", |(_, value)| value);
    format!(
        "<style>\nsvg {{ font-family: system-ui, \"DejaVu Sans\", sans-serif; }}\n{rules}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_variable_is_left() {
        let style = super::style();
        assert!(!style.contains("var(") && style.contains("stroke: #2563c9"), "{style}");
    }
}
