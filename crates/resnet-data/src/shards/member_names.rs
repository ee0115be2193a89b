//! What the names of a shard's members say.

/// Endings of labels, the surest first. `json` may hold one, `txt` is a caption where anything else is there.
pub(super) const LABELS: [&str; 12] =
    ["cls", "cls.txt", "label", "label.txt", "class", "class.txt", "target", "lbl", "index", "cls.json", "json", "txt"];

/// Whether a member's text is worth reading.
pub(super) fn may_hold_a_label(name: &str) -> bool {
    let base = base(name).to_lowercase();
    LABELS.iter().any(|ending| base.strip_suffix(ending).is_some_and(|before| before.ends_with('.')))
}

/// The last part of a member's name.
pub(super) fn base(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}
