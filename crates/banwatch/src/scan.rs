//! Which of many texts a line contains, in one pass over its octets.

/// Octets of a text that are looked for; what follows is left to the pattern.
pub const PREFIX_MAX: usize = 12;
/// Places of a line that are looked at in turn.
const LANES: usize = 4;
/// Octets of a line from which that pays.
const LANES_MIN: usize = 4 * PREFIX_MAX;

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
    /// The longest text but its last octet.
    overlap: usize,
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
            overlap: texts
                .iter()
                .map(|t| t.len())
                .max()
                .unwrap_or(0)
                .saturating_sub(1),
        }
    }

    /// Number of words that hits take.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Sets in `hits` ([`Scanner::words`] long) the bits of the texts that `line` contains.
    ///
    /// Each step waits for the table to answer the one before it, so a line of some length is run
    /// through in four places at once; the places overlap by as much as a text can be cut.
    pub fn scan(&self, line: &[u8], hits: &mut Hits) {
        hits.clear();
        hits.resize(self.words, 0);
        if line.len() < LANES_MIN {
            return self.run(line, hits);
        }
        // Lanes begin at 0, step, 2 step, 3 step and have one length, to the end of the line.
        let step = (line.len() - self.overlap) / LANES;
        let length = line.len() - (LANES - 1) * step;
        let lane = |n: usize| line.get(n * step..n * step + length).unwrap_or(&[]);
        let (one, two, three, four) = (lane(0), lane(1), lane(2), lane(3));
        let (mut a, mut b, mut c, mut d) = (0u32, 0u32, 0u32, 0u32);
        for (((w, x), y), z) in one.iter().zip(two).zip(three).zip(four) {
            // No state and octet lead out of the table.
            let (Some(w), Some(x), Some(y), Some(z)) = (
                self.step(a, *w),
                self.step(b, *x),
                self.step(c, *y),
                self.step(d, *z),
            ) else {
                return;
            };
            (a, b, c, d) = (w, x, y, z);
            let loud = self.first_hit;
            if a >= loud || b >= loud || c >= loud || d >= loud {
                for s in [a, b, c, d] {
                    self.mark(s, hits);
                }
            }
        }
    }

    fn run(&self, line: &[u8], hits: &mut Hits) {
        let mut s = 0u32;
        for b in line {
            let Some(next) = self.step(s, *b) else { return };
            s = next;
            if s >= self.first_hit {
                self.mark(s, hits);
            }
        }
    }

    #[inline(always)]
    fn step(&self, state: u32, octet: u8) -> Option<u32> {
        let at = state as usize + usize::from(self.class[usize::from(octet)]);
        self.next.get(at).copied()
    }

    #[cold]
    #[inline(never)]
    fn mark(&self, state: u32, hits: &mut Hits) {
        let Some(loud) = state.checked_sub(self.first_hit) else {
            return;
        };
        let found = self.found.get((loud >> self.shift) as usize);
        for n in found.map_or(&[][..], Vec::as_slice) {
            if let Some(w) = hits.get_mut(*n as usize / 64) {
                *w |= 1 << (n % 64);
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

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        for length in [LANES_MIN - 1, LANES_MIN, LANES_MIN + 1, 200, 203] {
            for text in ["xyz", "abcdefghijkl", "abcdefghijklmnop"] {
                for at in 0..=length - text.len() {
                    let mut line = vec![b'.'; length];
                    line[at..at + text.len()].copy_from_slice(text.as_bytes());
                    let s = Scanner::new(&["other", text]);
                    let mut hits = Hits::new();
                    s.scan(&line, &mut hits);
                    assert_eq!(hits, [2], "{text} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn finds_what_is_there(
            texts in prop::collection::vec("[ab-d]{1,5}|[ab]{10,14}", 0..80),
            line in "[a-e]{0,260}",
        ) {
            let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
            let want: Vec<usize> = (0..refs.len()).filter(|i| line.contains(&refs[*i][..refs[*i].len().min(PREFIX_MAX)])).collect();
            prop_assert_eq!(scan(&refs, &line), want);
        }
    }
}
