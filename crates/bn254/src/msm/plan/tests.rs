use super::*;

#[test]
fn shares_cover_every_bucket_and_block_once() {
    for (count, blocks, threads) in [(1 << 10, 1, 2), (1 << 14, 4, 2), (1 << 20, 256, 2), (1 << 14, 4, 64)] {
        let plan = Plan::new(count, threads);
        let shares = plan.shares(blocks);
        for place in 0..plan.places() {
            for block in 0..blocks {
                let mut buckets: Vec<_> = shares
                    .iter()
                    .filter(|share| share.place == place && (share.blocks.0..share.blocks.1).contains(&block))
                    .map(|share| (share.first, share.buckets))
                    .collect();
                buckets.sort_unstable();
                let end = buckets.iter().fold(0, |end, (first, len)| {
                    assert_eq!(*first, end);
                    first + len
                });
                assert_eq!(end, plan.buckets(place));
            }
        }
    }
}

#[test]
fn more_scalars_have_wider_digits() {
    let widths: Vec<u32> = (7..24).map(|log| Plan::new(1 << log, 2).width).collect();
    assert!(widths.is_sorted() && widths[0] < 9 && widths[16] == WIDEST, "{widths:?}");
}
