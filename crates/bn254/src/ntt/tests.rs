use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn random(len: usize) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(len as u64);
    (0..len).map(|_| Fr::random(&mut rng)).collect()
}

/// A domain for every kind of kernels that this machine runs.
fn domains(log: u32) -> impl Iterator<Item = Domain> {
    Isa::available().into_iter().flat_map(move |isa| {
        [Generator::Seven, Generator::Five].map(|generator| Domain::with_isa(log, generator, isa).unwrap())
    })
}

fn evaluate(coefficients: &[Fr], x: Fr) -> Fr {
    coefficients.iter().rev().fold(Fr::ZERO, |acc, c| acc * x + c)
}

#[test]
fn transforms_evaluate_the_polynomial_at_every_point() {
    for domain in [0, 1, 2, 3, 5, 8].into_iter().flat_map(domains) {
        let coefficients = random(domain.size());
        let mut on_domain = coefficients.clone();
        domain.ntt(&mut on_domain);
        let mut on_coset = coefficients.clone();
        domain.coset_ntt(&mut on_coset);
        let mut x = Fr::ONE;
        for (place, value) in on_domain.iter().enumerate() {
            assert_eq!(*value, evaluate(&coefficients, x), "{} at {place}", domain.size());
            assert_eq!(on_coset[place], evaluate(&coefficients, x * domain.coset_shift()));
            x *= domain.root();
        }
        assert_eq!(x, Fr::ONE);
    }
}

#[test]
fn parallel_sizes_agree_with_evaluation_at_chosen_points() {
    for domain in [7, 9, 13, 14].into_iter().flat_map(domains) {
        let coefficients = random(domain.size());
        let mut values = coefficients.clone();
        domain.ntt(&mut values);
        for place in [0, 1, 2, 4095, 4096, 8191, 8192, 16383] {
            let place = place % domain.size();
            let x = domain.root().pow_vartime([place as u64]);
            assert_eq!(values[place], evaluate(&coefficients, x));
        }
        let on_domain = values.clone();
        domain.shift_to_coset(&mut values);
        let mut on_coset = coefficients.clone();
        domain.coset_ntt(&mut on_coset);
        assert_eq!(values, on_coset);
        domain.coset_intt(&mut values);
        assert_eq!(values, coefficients);
        let mut reversed = on_domain.clone();
        domain.intt_to_reversed(&mut reversed);
        domain.ntt_from_reversed(&mut reversed);
        assert_eq!(reversed, on_domain);
        domain.intt_to_reversed(&mut reversed);
        bit_reverse(&mut reversed);
        assert_eq!(reversed, coefficients);
        domain.ntt_to_reversed(&mut reversed);
        domain.intt_from_reversed_unscaled(&mut reversed);
        let size = Fr::from(domain.size() as u64);
        assert!(reversed.iter().zip(&coefficients).all(|(scaled, value)| *scaled == size * value));
        let mut back = on_domain;
        domain.intt(&mut back);
        assert_eq!(back, coefficients);
    }
}

/// Sizes with one, two and no odd layers, and (22) with two passes over columns.
#[test]
fn every_kind_of_kernels_gives_the_same_transforms() {
    let logs = if Isa::detect() == Isa::Ifma { [10, 11, 12, 16, 17, 22] } else { [10, 11, 12, 13, 14, 15] };
    for log in logs {
        let reference = Domain::with_isa(log, Generator::Five, Isa::Portable).unwrap();
        let edges = [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::TWO_INV, -Fr::from(2)];
        let mut values = random(1 << log);
        // Blocks that are all edges, so that sums grow as large as they can.
        for (place, value) in values.iter_mut().enumerate().filter(|(place, _)| place % 64 < 32) {
            *value = edges[place / 64 % edges.len()];
        }
        for isa in Isa::available() {
            if isa == Isa::Emulated && log > 16 {
                continue;
            }
            let domain = Domain::with_isa(log, Generator::Five, isa).unwrap();
            let transforms: [fn(&Domain, &mut [Fr]); 5] = [
                Domain::ntt_to_reversed,
                Domain::ntt_from_reversed,
                Domain::intt_to_reversed_unscaled,
                Domain::intt_from_reversed_unscaled,
                |domain, values| domain.scatter(values, &domain.forward, COSET),
            ];
            for (number, transform) in transforms.into_iter().enumerate() {
                let (mut one, mut other) = (values.clone(), values.clone());
                transform(&reference, &mut one);
                transform(&domain, &mut other);
                assert!(one == other, "{isa}, transform {number} of 2^{log}");
            }
        }
    }
}

#[test]
fn the_quotient_is_a_times_b_less_c_on_the_coset() {
    for domain in [0, 1, 4, 6, 7, 8, 11, 14].into_iter().flat_map(domains) {
        let size = domain.size();
        let [a, b, c] = [1, 2, 3].map(|seed| random(size + seed)[seed..].to_vec());
        let [on_a, on_b, on_c] = [&a, &b, &c].map(|values| {
            let mut values = values.clone();
            domain.shift_to_coset(&mut values);
            values
        });
        let [mut a, mut b, mut c] = [a, b, c].map(|mut values| {
            bit_reverse(&mut values);
            values
        });
        let factor = domain.quotient(&mut a, &mut b, &mut c);
        bit_reverse(&mut a);
        for place in 0..size {
            assert_eq!(factor * a[place], on_a[place] * on_b[place] - on_c[place], "{size}");
        }
    }
}

#[test]
fn the_lagrange_basis_interpolates_on_domain_and_coset() {
    for log in [0, 1, 4, 12] {
        let domain = Domain::new(log).unwrap();
        let coefficients = random(domain.size());
        let point = Fr::from(0x1234_5678_9abc);
        let expected = evaluate(&coefficients, point);
        for (shift, coset) in [(Fr::ONE, false), (domain.coset_shift(), true)] {
            let mut values = coefficients.clone();
            if coset {
                domain.coset_ntt(&mut values)
            } else {
                domain.ntt(&mut values)
            }
            let basis = domain.lagrange_at(point, shift).unwrap();
            assert_eq!(values.iter().zip(&basis).map(|(v, l)| *v * l).sum::<Fr>(), expected);
        }
        assert!(domain.lagrange_at(domain.root(), Fr::ONE).is_none());
    }
}

/// The values of `Fr.w[28]` of snarkjs and of `ROOT_OF_UNITY` of halo2curves.
#[test]
fn each_generator_has_its_root_of_unity() {
    let five =
        crate::fr_from_hex("2a3c09f0a58a7e8500e0a7eb8ef62abc402d111e41112ed49bd61b6e725b19f0").unwrap();
    assert_eq!(Generator::Five.root_of_unity(), five);
    assert_eq!(Generator::Seven.root_of_unity(), Fr::ROOT_OF_UNITY);
    assert_eq!(five.pow_vartime([1_u64 << 27]), -Fr::ONE);
}

#[test]
fn the_odd_coset_is_where_x_to_the_n_is_minus_one() {
    let domain = Domain::new(6).unwrap();
    assert_eq!(domain.coset_shift().pow_vartime([64_u64]), -Fr::ONE);
}

#[test]
fn domains_that_do_not_exist_are_refused() {
    assert!(Domain::new(28).is_err());
    assert_eq!(Domain::at_least(33).unwrap().size(), 64);
    assert_eq!(Domain::at_least(0).unwrap().size(), 1);
}

#[test]
fn batch_inversion_reports_a_zero() {
    let mut values = random(9);
    let original = values.clone();
    assert!(batch_invert(&mut values));
    assert!(values.iter().zip(&original).all(|(a, b)| *a * b == Fr::ONE));
    values[3] = Fr::ZERO;
    assert!(!batch_invert(&mut values));
}
