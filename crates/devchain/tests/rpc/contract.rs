//! A contract assembled by hand. The first byte of the call data selects what it does.

/// Stores the word that follows, and logs it with topics `(0xaa, word)`.
pub const SET: u8 = 1;
/// Reverts with the four bytes `deadbeef`.
pub const FAIL: u8 = 2;
/// Returns the stored word.
pub const GET: u8 = 3;
/// Returns the block's timestamp.
pub const TIME: u8 = 4;
/// Returns the hash of the block whose number follows.
pub const HASH: u8 = 5;
/// Reverts with `Error("no")`.
pub const REASON: u8 = 6;
/// Runs an invalid instruction.
pub const INVALID: u8 = 7;

/// Bodies, each begins with JUMPDEST (5b).
const BODIES: [(u8, &str); 7] = [
    // CALLDATALOAD(1); SSTORE(0, it); MSTORE(0, it); LOG2(0, 32, 0xaa, it); STOP
    (SET, "5b 600135 805f55 805f52 60aa 6020 5f a2 00"),
    // MSTORE(0, deadbeef << 224); REVERT(0, 4)
    (FAIL, "5b 63deadbeef 60e0 1b 5f52 6004 5f fd"),
    // MSTORE(0, SLOAD(0)); RETURN(0, 32)
    (GET, "5b 5f54 5f52 6020 5f f3"),
    // MSTORE(0, TIMESTAMP); RETURN(0, 32)
    (TIME, "5b 42 5f52 6020 5f f3"),
    // MSTORE(0, BLOCKHASH(CALLDATALOAD(1))); RETURN(0, 32)
    (HASH, "5b 600135 40 5f52 6020 5f f3"),
    // Error(string): selector, offset 32, length 2, "no"; REVERT(0, 100)
    (REASON, "5b 6308c379a0 60e0 1b 5f52 6020 6004 52 6002 6024 52 616e6f 60f0 1b 6044 52 6064 5f fd"),
    (INVALID, "5b fe"),
];

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).expect("hexadecimal")
}

/// The code that stays on the chain.
pub fn runtime() -> Vec<u8> {
    // CALLDATALOAD(0) >> 248
    let mut code = bytes("5f35 60f8 1c");
    let mut at = code.len() + 7 * BODIES.len() + 1;
    let mut bodies = Vec::new();
    for (selector, body) in BODIES {
        // DUP1; PUSH1 selector; EQ; PUSH1 at; JUMPI
        code.extend([0x80, 0x60, selector, 0x14, 0x60, u8::try_from(at).expect("a short contract"), 0x57]);
        let body = bytes(body);
        at += body.len();
        bodies.extend(body);
    }
    code.push(0);
    code.extend(bodies);
    code
}

/// The code that creates it.
pub fn creation() -> Vec<u8> {
    let runtime = runtime();
    let length = u8::try_from(runtime.len()).expect("a short contract");
    // CODECOPY(0, 10, length); RETURN(0, length)
    let mut code = vec![0x60, length, 0x60, 10, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    code.extend(runtime);
    code
}

/// Call data: a selector and a word.
pub fn with_word(selector: u8, word: u64) -> Vec<u8> {
    let mut data = vec![selector];
    data.extend([0; 24]);
    data.extend(word.to_be_bytes());
    data
}
