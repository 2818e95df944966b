//! Which of many texts a line contains, in one pass over its octets.

/// Octets of a text that are looked for; what follows is left to the pattern.
pub const PREFIX_MAX: usize = 12;

/// An automaton (Aho and Corasick, 1975) over the texts that filters need.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// Column of an octet; 0 for octets in no text.
    class: [u8; 256],
    /// Next state by state and column; states are row offsets.
    next: Vec<u32>,
    shift: u32,
    /// States from here on have something in `found`.
    first_hit: u32,
    /// Texts that end in state `first_hit + (i << shift)`.
    found: Vec<Vec<u32>>,
    words: usize,
}

/// One bit for each text.
pub type Hits = Vec<u64>;

impl Scanner {
    /// Builds the automaton; the n-th text has bit n. Empty texts are never found.
    #[must_use]
    pub fn new<T: AsRef<[u8]>>(texts: &[T]) -> Scanner {
        let texts: Vec<&[u8]> = texts
            .iter()
            .map(|t| t.as_ref())
            .map(|t| t.get(..PREFIX_MAX).unwrap_or(t))
            .collect();
        let mut class = [0u8; 256];
        let mut columns = 1u32;
        for b in texts.iter().flat_map(|t| t.iter()) {
            let c = &mut class[*b as usize];
            // required texts hold no newline, so 255 columns are enough for all octets
            if *c == 0 && columns < 256 {
                *c = columns as u8;
                columns += 1;
            }
        }
        let shift = columns.next_power_of_two().trailing_zeros();
        let width = 1usize << shift;
        const NONE: u32 = u32::MAX;
        let mut rows: Vec<Vec<u32>> = vec![vec![NONE; width]];
        let mut ends: Vec<Vec<u32>> = vec![Vec::new()];
        for (n, t) in texts.iter().enumerate() {
            let mut s = 0usize;
            for b in *t {
                let c = class[*b as usize] as usize;
                let to = rows[s][c];
                s = if to == NONE {
                    rows.push(vec![NONE; width]);
                    ends.push(Vec::new());
                    rows[s][c] = rows.len() as u32 - 1;
                    rows.len() - 1
                } else {
                    to as usize
                };
            }
            if s != 0 {
                ends[s].push(n as u32);
            }
        }
        // breadth first: fill the gaps from the state of the longest proper suffix
        let mut fall = vec![0u32; rows.len()];
        let mut queue = std::collections::VecDeque::new();
        if let Some(root) = rows.first_mut() {
            for to in root.iter_mut() {
                match *to {
                    NONE => *to = 0,
                    s => queue.push_back(s as usize),
                }
            }
        }
        let mut order = vec![0usize];
        while let Some(s) = queue.pop_front() {
            order.push(s);
            let f = fall[s] as usize;
            let inherited = ends[f].clone();
            ends[s].extend(inherited);
            let through = rows[f].clone();
            for (to, through) in rows[s].iter_mut().zip(through) {
                match *to {
                    NONE => *to = through,
                    t => {
                        fall[t as usize] = through;
                        queue.push_back(t as usize);
                    }
                }
            }
        }
        // states with something found go last, so that one comparison tells
        let (quiet, loud): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|s| ends[*s].is_empty());
        let mut place = vec![0u32; rows.len()];
        for (i, s) in quiet.iter().chain(&loud).enumerate() {
            place[*s] = (i as u32) << shift;
        }
        let mut next = Vec::with_capacity(rows.len() << shift);
        for s in quiet.iter().chain(&loud) {
            next.extend(rows[*s].iter().map(|t| place[*t as usize]));
        }
        Scanner {
            class,
            next,
            shift,
            first_hit: (quiet.len() as u32) << shift,
            found: loud.iter().map(|s| ends[*s].clone()).collect(),
            words: texts.len().div_ceil(64),
        }
    }

    /// Number of words that hits take.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Sets in `hits` ([`Scanner::words`] long) the bits of the texts that `line` contains.
    pub fn scan(&self, line: &[u8], hits: &mut Hits) {
        hits.clear();
        hits.resize(self.words, 0);
        let mut s = 0u32;
        for b in line {
            let at = s as usize + self.class[*b as usize] as usize;
            s = self.next.get(at).copied().unwrap_or(0);
            if s >= self.first_hit {
                let i = ((s - self.first_hit) >> self.shift) as usize;
                for n in self.found.get(i).map_or(&[][..], Vec::as_slice) {
                    if let Some(w) = hits.get_mut(*n as usize / 64) {
                        *w |= 1 << (n % 64);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(texts: &[&str], line: &str) -> Vec<usize> {
        let s = Scanner::new(texts);
        let mut hits = Hits::new();
        s.scan(line.as_bytes(), &mut hits);
        (0..texts.len())
            .filter(|n| hits[n / 64] >> (n % 64) & 1 == 1)
            .collect()
    }

    #[test]
    fn overlapping_and_nested() {
        assert_eq!(scan(&["she", "he", "hers", "x"], "ushers"), [0, 1, 2]);
        assert_eq!(scan(&["aab", "ab", "a", ""], "aaab"), [0, 1, 2]);
        assert_eq!(scan(&[], "abc"), Vec::<usize>::new());
        assert_eq!(scan(&["0123456789abcdef"], "0123456789abX"), [0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn finds_what_is_there(
            texts in prop::collection::vec("[ab-d]{1,5}", 0..80),
            line in "[a-e]{0,30}",
        ) {
            let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
            let want: Vec<usize> = (0..refs.len()).filter(|i| line.contains(refs[*i])).collect();
            prop_assert_eq!(scan(&refs, &line), want);
        }
    }
}
