//! The interpreter on small programs: that it computes what the PTX ISA says, and that it finds what is wrong.

use crate::machine::{Arguments, Card, Module, Trouble};

const TWO_POINTERS: &str = ".param .u64 from, .param .u64 to";

/// A kernel of `threads` threads around `body`. %rd1 and %rd2 are the two arguments, %r1 is the number of the
/// thread, and %rd3 and %rd4 are places 4 * %r1 in the two.
fn kernel(threads: u32, body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_80\n.address_size 64\n
        .visible .entry small({TWO_POINTERS}) .maxntid {threads}, 1, 1 {{
            .reg .pred %p<4>; .reg .b16 %rs<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>;
            .shared .align 4 .b8 table[256]; .local .align 8 .b8 depot[16];
            ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to];
            mov.u32 %r1, %tid.x; mul.wide.u32 %rd5, %r1, 4;
            add.s64 %rd3, %rd1, %rd5; add.s64 %rd4, %rd2, %rd5;
            shl.b32 %r2, %r1, 2; mov.u32 %r3, table; add.s32 %r2, %r2, %r3;
            {body}
            ret;
        }}"
    )
}

/// Runs one block on these words; the results, one a thread.
fn run(threads: u32, input: &[u32], body: &str) -> Result<Vec<u32>, Trouble> {
    let module = Module::parse(&kernel(threads, body)).unwrap();
    let mut card = Card::default();
    let (from, to) = (card.upload(input), card.room::<u32>(threads as usize));
    let arguments = [Arguments::default().pointer(from), Arguments::default().pointer(to)];
    card.launch(&module, module.entry(&["small"]), &arguments, 1).map_err(|fault| fault.trouble)?;
    Ok(card.download(to))
}

/// The result of instructions that leave it in %r4, with %r5.. the given words.
fn result(words: &[u32], code: &str) -> u32 {
    let loads: String =
        (0..words.len()).map(|i| format!("ld.global.u32 %r{}, [%rd1+{}];", i + 5, 4 * i)).collect();
    run(1, words, &format!("{loads} {code} st.global.u32 [%rd2], %r4;")).unwrap()[0]
}

#[test]
fn carries_go_from_one_instruction_of_a_chain_to_the_next() {
    let top = u32::MAX;
    assert_eq!(result(&[top, 1], "add.cc.u32 %r4, %r5, %r6; addc.u32 %r4, 0, 0;"), 1);
    assert_eq!(result(&[top, 0], "add.cc.u32 %r4, %r5, %r6; addc.u32 %r4, 0, 0;"), 0);
    assert_eq!(result(&[1, 2], "sub.cc.u32 %r4, %r5, %r6; subc.u32 %r4, 0, 0;"), top);
    assert_eq!(result(&[0, 0], "sub.cc.u32 %r4, 0, 1; subc.cc.u32 %r4, %r5, %r6; subc.u32 %r4, 0, 0;"), top);
    assert_eq!(result(&[top, top], "mad.lo.cc.u32 %r4, %r5, %r6, -1; madc.hi.u32 %r4, %r5, %r6, 0;"), top);
    assert_eq!(
        result(&[top, top], "add.cc.u32 %r4, -1, 1; madc.hi.cc.u32 %r4, %r5, %r6, 1; addc.u32 %r4, 0, 0;"),
        1
    );
}

#[test]
fn bits_move_as_the_manual_says() {
    assert_eq!(result(&[0x1234_5678], "shl.b32 %r4, %r5, 32;"), 0);
    assert_eq!(result(&[0x8000_0000], "shr.s32 %r4, %r5, 40;"), u32::MAX);
    assert_eq!(result(&[0x1234_5678, 0x9abc_def0], "shf.l.wrap.b32 %r4, %r5, %r6, 8;"), 0xbcde_f012);
    assert_eq!(result(&[0x1234_5678, 0x9abc_def0], "shf.r.clamp.b32 %r4, %r5, %r6, 32;"), 0x9abc_def0);
    assert_eq!(result(&[0x1234_5678, 0x9abc_def0], "prmt.b32 %r4, %r5, %r6, 0x7F40;"), 0x9aff_f078);
    assert_eq!(
        result(&[0xf0f0, 0xff00, 0x3333], "lop3.b32 %r4, %r5, %r6, %r7, 0x96;"),
        0xf0f0 ^ 0xff00 ^ 0x3333
    );
    assert_eq!(result(&[0xabcd], "bfe.u32 %r4, %r5, 4, 8;"), 0xbc);
    assert_eq!(result(&[0xabcd], "bfe.s32 %r4, %r5, 4, 8;"), 0xffff_ffbc);
    assert_eq!(result(&[5, 0xffff_ffff], "bfi.b32 %r4, %r5, %r6, 4, 4;"), 0xffff_ff5f);
    assert_eq!(result(&[1, 3], "bfi.b32 %r4, %r5, %r6, 2, 30;"), 7);
    assert_eq!(result(&[0x0010_0000], "clz.b32 %r4, %r5;"), 11);
    assert_eq!(result(&[7, 9], "mov.b64 %rd6, {%r5, %r6}; mov.b64 {%r7, %r4}, %rd6;"), 9);
}

#[test]
fn signs_matter_where_the_type_says_so() {
    let minus = 1_u32.wrapping_neg();
    assert_eq!(result(&[minus], "setp.lt.s32 %p1, %r5, 1; selp.u32 %r4, 1, 0, %p1;"), 1);
    assert_eq!(result(&[minus], "setp.lt.u32 %p1, %r5, 1; selp.u32 %r4, 1, 0, %p1;"), 0);
    assert_eq!(
        result(&[minus], "cvt.s64.s32 %rd6, %r5; shr.u64 %rd6, %rd6, 32; cvt.u32.u64 %r4, %rd6;"),
        minus
    );
    assert_eq!(result(&[minus], "cvt.u64.u32 %rd6, %r5; shr.u64 %rd6, %rd6, 32; cvt.u32.u64 %r4, %rd6;"), 0);
    assert_eq!(
        result(&[minus, 2], "mul.wide.s32 %rd6, %r5, %r6; cvt.u32.u64 %r4, %rd6;"),
        2_u32.wrapping_neg()
    );
    assert_eq!(result(&[minus, 2], "mul.hi.s32 %r4, %r5, %r6;"), minus);
    assert_eq!(result(&[minus], "abs.s32 %r4, %r5;"), 1);
    assert_eq!(result(&[minus, 2], "max.s32 %r4, %r5, %r6;"), 2);
    assert_eq!(result(&[minus, 2], "max.u32 %r4, %r5, %r6;"), minus);
    assert_eq!(result(&[0x80], "ld.global.s8 %rs1, [%rd1]; cvt.s32.s16 %r4, %rs1;"), 0xffff_ff80);
}

#[test]
fn guards_loops_and_functions_work() {
    let loops = "mov.u32 %r4, 0; AGAIN: add.s32 %r4, %r4, 3; setp.lt.u32 %p1, %r4, %r5; @%p1 bra AGAIN; @!%p1 add.s32 %r4, %r4, 100;
        @%p1 mov.u32 %r4, 0;";
    assert_eq!(result(&[10], loops), 112);
    let call = "{ .param .b32 a; st.param.b32 [a+0], %r5; .param .b32 b; call.uni (b), twice, (a); ld.param.b32 %r4, [b+0]; }";
    let text = kernel(1, &format!("ld.global.u32 %r5, [%rd1]; {call} st.global.u32 [%rd2], %r4;"))
        + ".func (.param .b32 result) twice(.param .b32 value) { .reg .b32 %r<3>; .reg .b64 %d; .local .b32 place;
            ld.param.b32 %r1, [value]; mov.u64 %d, place; cvta.local.u64 %d, %d; st.u32 [%d], %r1; ld.u32 %r2, [%d];
            add.s32 %r1, %r1, %r2; st.param.b32 [result], %r1; ret; }";
    let module = Module::parse(&text).unwrap();
    let mut card = Card::default();
    let (from, to) = (card.upload(&[21_u32]), card.room::<u32>(1));
    let arguments = [Arguments::default().pointer(from), Arguments::default().pointer(to)];
    card.launch(&module, module.entry(&["small"]), &arguments, 1).unwrap();
    assert_eq!(card.download::<u32>(to), [42]);
}

#[test]
fn threads_of_a_block_meet_at_barriers() {
    let reverse = "ld.global.u32 %r4, [%rd3]; st.shared.u32 [%r2], %r4; bar.sync 0; mov.u32 %r5, 31; sub.s32 %r5, %r5, %r1;
        shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r3; ld.shared.u32 %r4, [%r5]; st.global.u32 [%rd4], %r4;";
    let input: Vec<u32> = (0..32).collect();
    let reversed: Vec<u32> = (0..32).rev().collect();
    assert_eq!(run(32, &input, reverse).unwrap(), reversed);
    // Without the barrier thread 0 reads what thread 31 has not written yet.
    let hasty = reverse.replace("bar.sync 0;", "");
    assert!(matches!(run(32, &input, &hasty), Err(Trouble::Unwritten { .. })));
}

#[test]
fn a_barrier_that_some_threads_miss_is_found() {
    let some = "setp.lt.u32 %p1, %r1, 16; @%p1 bar.sync 0; st.global.u32 [%rd4], %r1;";
    assert_eq!(run(32, &[0], some), Err(Trouble::Barrier));
    let two = "setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.sync 0; bra B; A: bar.sync 0; B: st.global.u32 [%rd4], %r1;";
    assert_eq!(run(32, &[0], two), Err(Trouble::Barrier));
}

#[test]
fn races_are_found() {
    let is_race = |found: Result<Vec<u32>, Trouble>| matches!(found, Err(Trouble::Race { .. }));
    let to_one_word = "st.global.u32 [%rd2], %r1;";
    assert!(is_race(run(2, &[0], to_one_word)));
    let read_then_write = "ld.shared.u32 %r4, [%r3]; setp.eq.u32 %p1, %r1, 1; @%p1 st.shared.u32 [%r3], %r1;";
    let first = "setp.eq.u32 %p2, %r1, 0; @%p2 st.shared.u32 [%r3], %r1; bar.sync 0;";
    let last = "st.global.u32 [%rd4], %r1;";
    assert!(is_race(run(2, &[0], &format!("{first} {read_then_write} {last}"))));
    assert!(
        run(2, &[0], &format!("{first} ld.shared.u32 %r4, [%r3]; bar.sync 0; {read_then_write} {last}"))
            .is_err()
    );
    let ordered =
        "ld.shared.u32 %r4, [%r3]; bar.sync 0; setp.eq.u32 %p1, %r1, 1; @%p1 st.shared.u32 [%r3], %r1;";
    assert!(run(2, &[0], &format!("{first} {ordered} {last}")).is_ok());
}

#[test]
fn blocks_have_no_barrier_between_them() {
    let module =
        Module::parse(&kernel(1, "ld.global.u32 %r4, [%rd1]; bar.sync 0; st.global.u32 [%rd1], %r1;"))
            .unwrap();
    let mut card = Card::default();
    let at = card.upload(&[1_u32]);
    let arguments = [Arguments::default().pointer(at), Arguments::default().pointer(at)];
    assert!(card.launch(&module, module.entry(&["small"]), &arguments, 1).is_ok());
    let fault = card.launch(&module, module.entry(&["small"]), &arguments, 2).unwrap_err();
    assert!(matches!(fault.trouble, Trouble::Race { .. }), "{fault}");
}

#[test]
fn accesses_outside_of_memory_are_found() {
    let is_outside = |found: Result<Vec<u32>, Trouble>| matches!(found, Err(Trouble::OutOfBounds { .. }));
    assert!(is_outside(run(1, &[1, 2], "ld.global.u32 %r4, [%rd1+8];")));
    assert!(is_outside(run(1, &[1, 2], "ld.global.u32 %r4, [%rd1+-4];")));
    assert!(is_outside(run(1, &[1, 2], "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd1];")));
    assert!(is_outside(run(1, &[], "mov.u64 %rd6, 0; ld.global.u32 %r4, [%rd6];")));
    assert!(is_outside(run(1, &[], "st.shared.u32 [%r3+256], %r1;")));
    assert!(is_outside(run(1, &[], "mov.u64 %rd6, depot; st.local.u32 [%rd6+16], %r1;")));
    assert!(matches!(run(1, &[1, 2], "ld.global.u32 %r4, [%rd1+2];"), Err(Trouble::Unaligned { .. })));
}

#[test]
fn reads_of_what_nobody_wrote_are_found() {
    let is_unwritten = |found: Result<Vec<u32>, Trouble>| matches!(found, Err(Trouble::Unwritten { .. }));
    assert!(is_unwritten(run(1, &[], "ld.global.u32 %r4, [%rd2];")));
    assert!(is_unwritten(run(1, &[], "ld.shared.u32 %r4, [%r3];")));
    assert!(is_unwritten(run(1, &[], "mov.u64 %rd6, depot; ld.local.u32 %r4, [%rd6+4];")));
}

#[test]
fn a_carry_of_no_chain_and_a_thread_without_end_are_found() {
    assert_eq!(run(1, &[], "addc.u32 %r4, 0, 0;"), Err(Trouble::Carry));
    assert_eq!(run(1, &[], "AGAIN: bra AGAIN;"), Err(Trouble::Endless));
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    for strange in [
        "sqrt.rn.f32 %r4, %r5;",
        "add.f32 %r4, %r5, %r5;",
        "ld.weird.u32 %r4, [%rd1];",
        "bar.sync 1;",
        "membar.gl;",
    ] {
        let error = Module::parse(&kernel(1, strange)).err().unwrap();
        assert!(error.contains(strange.trim_end_matches(';')) && error.contains("line"), "{error}");
    }
}
