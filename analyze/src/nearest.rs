//! The name that somebody meant.

/// The candidate most like `name`, if any is like it at all.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_near() {
        let names = ["listen", "output", "rotate", "rotate-size"];
        assert_eq!(nearest("lisetn", names.into_iter()), Some("listen"));
        assert_eq!(
            nearest("rotate-sise", names.into_iter()),
            Some("rotate-size")
        );
        assert_eq!(nearest("xyz", names.into_iter()), None);
    }
}
