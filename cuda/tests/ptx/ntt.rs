//! ntt.cu: transforms in passes of a few layers, and the tables they use.

use std::sync::Arc;

use bn254::{Domain, Field, Fr};

use crate::machine::{Arguments, Card, Module, Trouble};
use crate::samples::elements;
use crate::toolkit::{Unit, unit};

/// Elements of a tile are 4 columns.
const COLUMNS: u32 = 4;

const PASS: [&str; 2] = ["block_entry", "4PassE"];

/// A domain on the card, its tables filled by the card as `Domain` of ntt.cu does.
struct OnCard {
    card: Card,
    unit: Arc<Unit>,
    log: u32,
    twiddles: u64,
    low: u64,
    high: u64,
}

#[derive(Clone, Copy, Default)]
struct Options {
    gather: bool,
    inverse: bool,
    scaled: bool,
    /// Places of the factors and of what is subtracted after the last pass.
    other: Option<(u64, u64)>,
}

impl OnCard {
    fn new(domain: &Domain) -> Option<Self> {
        let mut new = Self {
            card: Card::default(),
            unit: unit("ntt")?,
            log: domain.log_size(),
            twiddles: 0,
            low: 0,
            high: 0,
        };
        let (low_bits, high_bits) = (new.log / 2, new.log - new.log / 2);
        new.twiddles = new.powers(new.log.saturating_sub(1), domain.root(), Fr::ONE);
        let step = domain.coset_shift().pow_vartime([1 << high_bits]);
        new.low = new.powers(low_bits, step, domain.size_inverse());
        new.high = new.powers(high_bits, domain.coset_shift(), Fr::ONE);
        Some(new)
    }

    /// first * base^bitrev(i) for i < 2^log.
    fn powers(&mut self, log: u32, base: Fr, first: Fr) -> u64 {
        let table = self.card.room::<Fr>(1 << log);
        self.card.write(table, &[first]);
        for bit in 0..log {
            let factor = base.pow_vartime([1 << (log - 1 - bit)]);
            // table, count, factor
            let arguments = Arguments::default().pointer(table).u32(1 << bit).element(factor);
            self.card.launch_items(&self.unit.module, &["11DoubleTable"], arguments, 1 << bit);
        }
        table
    }

    /// The arguments of pass `p` of `passes`, and its blocks.
    fn pass(&self, values: u64, batch: u32, (p, passes): (u32, u32), options: Options) -> (Arguments, u32) {
        let from_low = if options.gather { p } else { passes - 1 - p };
        let first_bit = self.log * from_low / passes;
        let layers = self.log * (from_low + 1) / passes - first_bit;
        let groups = (batch << self.log) >> layers;
        let last = p == passes - 1;
        let (factor, subtrahend) = options.other.filter(|_| last).unwrap_or_default();
        // values, twiddles, log_size, first_bit, layers, groups, gather, inverse, scaled,
        // SplitPowers{low, high, low_bits}, factor, subtrahend
        let arguments = Arguments::default().pointer(values).pointer(self.twiddles).u32(self.log);
        let arguments = arguments.u32(first_bit).u32(layers).u32(groups);
        let arguments = arguments.bool(options.gather).bool(options.inverse).bool(last && options.scaled);
        let arguments = arguments.pointer(self.low).pointer(self.high).u32(self.log / 2);
        (arguments.pointer(factor).pointer(subtrahend), groups.div_ceil(COLUMNS))
    }

    fn transform(&mut self, values: u64, batch: u32, passes: u32, options: Options) {
        for p in 0..passes {
            let (arguments, blocks) = self.pass(values, batch, (p, passes), options);
            self.card.launch_blocks(&self.unit.module, &PASS, arguments, blocks);
        }
    }
}

fn polynomials(log: u32, batch: usize) -> Vec<Fr> {
    // From the far end, where the elements are random.
    elements::<Fr>((batch << log) + 800, u64::from(log)).split_off(800)
}

fn bit_reverse(values: &mut [Fr]) {
    let log = values.len().trailing_zeros();
    for i in 0..values.len() {
        let j = if log == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - log) };
        if i < j {
            values.swap(i, j);
        }
    }
}

/// Every kind of transform of `batch` polynomials in this many passes.
fn agrees(log: u32, batch: usize, passes: u32) {
    let domain = Domain::new(log).unwrap();
    let original = polynomials(log, batch);
    let run = |options: Options, expected: &dyn Fn(&mut [Fr])| {
        let Some(mut on_card) = OnCard::new(&domain) else { return };
        let values = on_card.card.upload(&original);
        on_card.transform(values, batch as u32, passes, options);
        let mut wanted = original.clone();
        wanted.chunks_mut(domain.size()).for_each(expected);
        assert!(on_card.card.download::<Fr>(values) == wanted, "{batch} of 2^{log} in {passes} passes");
    };
    let (plain, gather) = (Options::default(), Options { gather: true, ..Options::default() });
    run(plain, &|values| {
        domain.ntt(values);
        bit_reverse(values);
    });
    run(gather, &|values| domain.ntt_from_reversed(values));
    run(Options { inverse: true, ..plain }, &|values| domain.intt_to_reversed_unscaled(values));
    run(Options { inverse: true, ..gather }, &|values| {
        bit_reverse(values);
        domain.intt(values);
        let size = Fr::from(1 << log);
        values.iter_mut().for_each(|value| *value *= size);
    });
}

#[test]
fn transforms_in_one_pass_agree_with_the_processor() {
    for (log, batch) in [(1, 1), (2, 3), (5, 1), (8, 3)] {
        agrees(log, batch, 1);
    }
}

#[test]
fn transforms_in_several_passes_agree_with_the_processor() {
    for (log, batch, passes) in [(2, 1, 2), (5, 3, 2), (6, 1, 3), (9, 1, 2), (10, 3, 2), (7, 2, 3)] {
        agrees(log, batch, passes);
    }
}

/// A*B - C on the odd coset, as `quotient` of ntt.cu does it.
fn quotient_agrees(log: u32, passes: u32) {
    let domain = Domain::new(log).unwrap();
    let size = domain.size();
    let Some(mut on_card) = OnCard::new(&domain) else { return };
    let parts: Vec<Vec<Fr>> = polynomials(log, 3).chunks(size).map(<[Fr]>::to_vec).collect();
    let places: Vec<u64> = parts.iter().map(|part| on_card.card.upload(part)).collect();
    let to_coset = Options { inverse: true, scaled: true, ..Options::default() };
    let gather = Options { gather: true, ..Options::default() };
    places.iter().for_each(|place| on_card.transform(*place, 1, passes, to_coset));
    on_card.transform(places[1], 1, passes, gather);
    on_card.transform(places[2], 1, passes, gather);
    on_card.transform(places[0], 1, passes, Options { other: Some((places[1], places[2])), ..gather });
    let mut wanted = parts;
    wanted.iter_mut().for_each(|values| domain.shift_to_coset(values));
    let found = on_card.card.download::<Fr>(places[0]);
    assert!((0..size).all(|i| found[i] == wanted[0][i] * wanted[1][i] - wanted[2][i]), "2^{log}");
}

#[test]
fn the_quotient_on_the_coset_agrees_with_the_processor() {
    for (log, passes) in [(0, 1), (1, 1), (4, 2), (9, 2)] {
        quotient_agrees(log, passes);
    }
}

#[test]
fn products_place_by_place_agree_with_the_processor() {
    let Some(unit) = unit("ntt") else { return };
    let (a, b) = (elements::<Fr>(1100, 1), elements::<Fr>(1100, 2).into_iter().rev().collect::<Vec<_>>());
    let mut card = Card::default();
    let (left, right, out) = (card.upload(&a), card.upload(&b), card.room::<Fr>(a.len()));
    // a, b, out
    let arguments = Arguments::default().pointer(left).pointer(right).pointer(out);
    card.launch_items(&unit.module, &["8MultiplyE"], arguments, a.len() as u32);
    let wanted: Vec<Fr> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
    assert!(card.download::<Fr>(out) == wanted);
}

#[test]
fn without_its_barriers_a_transform_is_a_race() {
    let domain = Domain::new(6).unwrap();
    let Some(mut on_card) = OnCard::new(&domain) else { return };
    let lines: Vec<&str> = on_card.unit.text.lines().filter(|line| !line.contains("bar.sync")).collect();
    let hasty = Module::parse(&lines.join("\n")).unwrap();
    let values = on_card.card.upload(&polynomials(6, 1));
    let (arguments, blocks) = on_card.pass(values, 1, (0, 1), Options::default());
    let fault = on_card.card.launch(&hasty, hasty.entry(&PASS), &[arguments], blocks).unwrap_err();
    assert!(matches!(fault.trouble, Trouble::Race { .. } | Trouble::Unwritten { .. }), "{fault}");
}
