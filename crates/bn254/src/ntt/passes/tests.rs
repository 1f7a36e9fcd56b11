use super::*;

#[test]
fn every_element_is_in_one_tile_of_each_pass() {
    for log in [7, 8, 11, 13, 16] {
        let shape = Shape::new(log);
        let all: Vec<Tiles> = shape
            .columns
            .iter()
            .map(|columns| shape.column_tiles(*columns))
            .chain([shape.block_tiles()])
            .collect();
        let layers: u32 = all.iter().map(|tiles| tiles.count.trailing_zeros()).sum::<u32>() + 4;
        assert_eq!(layers, log);
        for tiles in all {
            let mut seen = vec![0; 1 << log];
            for tile in 0..tiles.len() {
                let (_, rows) = tiles.get(Elements(std::ptr::null_mut()), tile);
                for row in 0..rows.count {
                    let first = rows.first.addr() / size_of::<Fr>() + row * rows.stride;
                    seen[first..first + ROW].iter_mut().for_each(|seen| *seen += 1);
                }
            }
            assert!(seen.iter().all(|seen| *seen == 1), "2^{log}");
        }
    }
}

#[test]
fn large_transforms_have_several_passes_that_fit_the_cache() {
    for log in 7..=27 {
        let shape = Shape::new(log);
        assert!(shape.columns.iter().all(|columns| (1..=COLUMN_LOG).contains(&columns.layers)), "2^{log}");
        assert!((LEAST_LOG..=BLOCK_LOG).contains(&(log - shape.blocks_log())));
    }
}
