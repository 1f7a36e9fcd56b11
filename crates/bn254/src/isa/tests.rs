use super::*;

#[test]
fn every_instruction_set_has_its_name_and_no_other_is_known() {
    for isa in Isa::ALL {
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    for name in ["", "IFMA", "sse2"] {
        assert_eq!(name.parse::<Isa>(), Err(UnknownIsa));
    }
}

#[test]
fn the_environment_cannot_ask_for_the_emulation() {
    assert_eq!(Isa::named(OsStr::new("avx2")), Some(Isa::Avx2));
    assert_eq!(Isa::named(OsStr::new("emulated")), None);
}

#[test]
fn what_is_detected_is_the_first_of_what_is_available_and_slower_ones_follow() {
    let available = Isa::available();
    assert_eq!(available[0], Isa::detect());
    assert!(available.is_sorted() && available.ends_with(&[Isa::Portable, Isa::Emulated]));
}
