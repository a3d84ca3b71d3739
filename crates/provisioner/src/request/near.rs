//! What somebody may have meant.

use super::SHOWN_CHARS_MAX;
use crate::provisioner::Parts;

/// The product whose name or alias is nearest to what was asked for, if one is near.
pub(super) fn near(parts: &Parts, asked: &str) -> Option<String> {
    if asked.chars().count() > SHOWN_CHARS_MAX {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    for product in parts.catalogue.products() {
        words.push(product.name.to_string());
        words.extend(parts.names.aliases_of(product.name.as_str()).map(str::to_owned));
    }
    let most = (asked.chars().count() / 3).clamp(1, 3);
    let (distance, word) = words.into_iter().map(|word| (distance(asked, &word), word)).min()?;
    (distance <= most).then_some(word)
}

/// How many letters have to be added, removed or replaced to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
