use super::*;
use ff::Field;
use proptest::prelude::*;

const R: [u8; 32] = [
    0x30, 0x64, 0x4e, 0x72, 0xe1, 0x31, 0xa0, 0x29, 0xb8, 0x50, 0x45, 0xb6, 0x81, 0x81, 0x58, 0x5d, 0x28,
    0x33, 0xe8, 0x48, 0x79, 0xb9, 0x70, 0x91, 0x43, 0xe1, 0xf5, 0x93, 0xf0, 0x00, 0x00, 0x01,
];

#[test]
fn the_modulus_is_refused_and_one_below_it_is_minus_one() {
    assert_eq!(fr_from_be_bytes(&R), Err(EncodingError::NotCanonical));
    let mut below = R;
    below[31] = 0;
    assert_eq!(fr_from_be_bytes(&below), Ok(-Fr::ONE));
    assert_eq!(fr_from_be_bytes(&[0xff; 32]), Err(EncodingError::NotCanonical));
    // q > r: the same number is an element of Fq.
    assert!(fq_from_be_bytes(&R).is_ok());
    assert_eq!(fq_from_le_bytes(&[0xff; 32]), Err(EncodingError::NotCanonical));
}

#[test]
fn hex_is_read_leniently_and_written_in_one_way() {
    assert_eq!(fr_from_hex("0x2a"), Ok(Fr::from(42)));
    assert_eq!(fr_from_hex("2A"), Ok(Fr::from(42)));
    for bad in ["", "0x", "0xg1", "-1", "0x00000000000000000000000000000000000000000000000000000000000000001"]
    {
        assert_eq!(fr_from_hex(bad), Err(EncodingError::BadHex), "{bad}");
    }
    assert_eq!(fr_to_hex(&Fr::from(42)), format!("0x{:064x}", 42));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    #[serde(with = "serde_fr")]
    one: Fr,
    #[serde(with = "serde_fr_vec")]
    many: Vec<Fr>,
    #[serde(with = "serde_fr_array")]
    three: [Fr; 3],
}

#[test]
fn serde_is_compact_in_binary_and_hex_in_json() {
    let sample =
        Sample { one: -Fr::ONE, many: vec![Fr::from(2); 5], three: [Fr::ONE, Fr::ZERO, Fr::from(7)] };
    let binary = postcard::to_stdvec(&sample).unwrap();
    assert_eq!(binary.len(), 32 * 9 + 1);
    assert_eq!(postcard::from_bytes::<Sample>(&binary).unwrap(), sample);
    let json = serde_json::to_string(&sample).unwrap();
    assert!(json.contains("\"0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000000\""));
    assert_eq!(serde_json::from_str::<Sample>(&json).unwrap(), sample);
    let short = json.replace(&format!(",\"0x{:064x}\"]}}", 7), "]}");
    assert_ne!(short, json);
    assert!(serde_json::from_str::<Sample>(&short).unwrap_err().to_string().contains("PM-FIELD-003"));
    let mut too_big = binary;
    too_big[..32].fill(0xff);
    assert!(postcard::from_bytes::<Sample>(&too_big).is_err());
}

proptest! {
    #[test]
    fn encodings_round_trip(wide in any::<[u8; 32]>()) {
        let mut bytes = wide;
        bytes[31] &= 0x1f;
        let fr = fr_from_le_bytes(&bytes).unwrap();
        prop_assert_eq!(fr_to_le_bytes(&fr), bytes);
        prop_assert_eq!(fr_from_be_bytes(&fr_to_be_bytes(&fr)), Ok(fr));
        prop_assert_eq!(fr_from_hex(&fr_to_hex(&fr)), Ok(fr));
        let fq = fq_from_le_bytes(&bytes).unwrap();
        prop_assert_eq!(fq_from_be_bytes(&fq_to_be_bytes(&fq)), Ok(fq));
    }

    #[test]
    fn small_numbers_are_themselves(value in any::<u128>()) {
        let mut bytes = [0_u8; 32];
        bytes[..16].copy_from_slice(&value.to_le_bytes());
        prop_assert_eq!(fr_to_le_bytes(&fr_from_u128(value)), bytes);
    }
}
