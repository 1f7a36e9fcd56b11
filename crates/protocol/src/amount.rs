//! Amounts of ETH as people read them.

/// Wei as ETH, without trailing zeros.
pub fn eth(wei: u128) -> String {
    const ETH: u128 = 1_000_000_000_000_000_000;
    let fraction = format!("{:018}", wei % ETH);
    match fraction.trim_end_matches('0') {
        "" => format!("{} ETH", wei / ETH),
        digits => format!("{}.{digits} ETH", wei / ETH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wei_reads_as_eth() {
        assert_eq!(eth(0), "0 ETH");
        assert_eq!(eth(1_500_000_000_000_000_000), "1.5 ETH");
        assert_eq!(eth(1_000_000_000), "0.000000001 ETH");
    }
}
