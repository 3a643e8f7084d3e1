//! Inputs without meaning, which the bodies take as instructions like anything else.

/// `count` inputs of growing length, each behind the bytes that `lead` gives it. What follows is noise, the same in
/// every run.
pub(crate) fn instructions(salt: u64, count: u8, lead: impl Fn(u8) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut state = salt;
    (0..count)
        .map(|index| {
            let mut seed = lead(index);
            for _ in 0..8 + 6 * usize::from(index) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed.push(state.to_be_bytes()[0]);
            }
            seed
        })
        .collect()
}
