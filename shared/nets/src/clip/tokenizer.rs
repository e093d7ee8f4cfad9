//! CLIP's byte-pair tokenizer: from text to the 77 token ids that the text tower reads.

use crate::NetError;
use cedm_tensor_files::open_file;
use regex::Regex;
use std::{collections::HashMap, io::Read, path::Path};
use tch::Tensor;

mod clean;

/// Length of a token sequence, padding included.
pub const CONTEXT_LENGTH: usize = 77;

/// Merges in use: lines 1 to 48894 of the vocabulary file, which holds more. 256 bytes, the same
/// 256 at the end of a word, the merges, and the start and end tokens make a vocabulary of 49408.
const MERGES: usize = 49152 - 256 - 2;
/// Words: the two marks, contractions, runs of letters, single digits, runs of anything else that
/// is not white space.
const PATTERN: &str =
    r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// A tokenizer over the published vocabulary file (`bpe_simple_vocab_16e6.txt.gz`).
pub struct Tokenizer {
    ids: HashMap<String, i64>,
    ranks: HashMap<(String, String), usize>,
    bytes: [char; 256],
    pattern: Regex,
    start: i64,
    end: i64,
}

/// Most bytes of the vocabulary that are read, packed and unpacked; OpenAI's takes 3.2 MB.
const LIMIT: u64 = 64 << 20;

impl Tokenizer {
    /// Reads the vocabulary file, gzipped or plain.
    ///
    /// # Errors
    /// When it cannot be read or has too few lines.
    pub fn read(path: &Path) -> Result<Self, NetError> {
        let mut raw = Vec::new();
        open_file(path)
            .and_then(|file| file.take(LIMIT).read_to_end(&mut raw))
            .map_err(NetError::io("read", path))?;
        let mut text = String::new();
        if raw.starts_with(cedm_images::GZIP) {
            flate2::read::GzDecoder::new(&raw[..])
                .take(LIMIT)
                .read_to_string(&mut text)
                .map_err(NetError::io("read", path))?;
        } else {
            text = String::from_utf8(raw)
                .map_err(|_| NetError::format(path, "the vocabulary is not UTF-8"))?;
        }
        let merges: Option<Vec<(&str, &str)>> = text
            .lines()
            // The first line is a header with the version.
            .skip(1)
            .take(MERGES)
            .map(|line| line.split_once(' '))
            .collect();
        match merges {
            Some(merges) if merges.len() == MERGES => Ok(Self::over(&merges)),
            _ => Err(NetError::format(
                path,
                format!(
                    "not a CLIP vocabulary: expected a header and {MERGES} lines of two symbols"
                ),
            )),
        }
    }

    fn over(merges: &[(&str, &str)]) -> Self {
        let bytes = byte_characters();
        // A symbol's place in this list is its id. Single bytes come in GPT-2's order: visible
        // ones first, then the rest; then the same at the end of a word; then the merges.
        let mut symbols: Vec<String> = byte_order()
            .into_iter()
            .map(|byte| bytes[usize::from(byte)].to_string())
            .collect();
        symbols.extend(symbols.clone().into_iter().map(|symbol| symbol + "</w>"));
        symbols.extend(
            merges
                .iter()
                .map(|(first, second)| format!("{first}{second}")),
        );
        let start = symbols.len() as i64;
        let ids = symbols
            .into_iter()
            .enumerate()
            .map(|(id, symbol)| (symbol, id as i64))
            .collect();
        let ranks = merges
            .iter()
            .enumerate()
            .map(|(rank, (first, second))| (((*first).to_owned(), (*second).to_owned()), rank))
            .collect();
        let pattern = Regex::new(PATTERN).expect("invariant: the pattern is well formed");
        Self {
            ids,
            ranks,
            bytes,
            pattern,
            start,
            end: start + 1,
        }
    }

    /// Ids of a text between start and end token, at most [`CONTEXT_LENGTH`]; a longer text is cut
    /// and ends in the end token.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let mut ids = vec![self.start];
        for word in self.pattern.find_iter(&clean::clean(text)) {
            match word.as_str() {
                "<start_of_text>" => ids.push(self.start),
                "<end_of_text>" => ids.push(self.end),
                word => ids.extend(self.merge(word).iter().map(|symbol| self.ids[symbol])),
            }
        }
        ids.push(self.end);
        // The end token stays: the text tower reads its position.
        if ids.len() > CONTEXT_LENGTH {
            ids.truncate(CONTEXT_LENGTH);
            ids[CONTEXT_LENGTH - 1] = self.end;
        }
        ids
    }

    /// Ids i64 \[n, 77\] of texts, padded with 0.
    pub fn batch(&self, texts: &[String]) -> Tensor {
        let mut all = vec![0i64; texts.len() * CONTEXT_LENGTH];
        for (row, text) in all.chunks_exact_mut(CONTEXT_LENGTH).zip(texts) {
            let ids = self.encode(text);
            row[..ids.len()].copy_from_slice(&ids);
        }
        Tensor::from_slice(&all).reshape([texts.len() as i64, CONTEXT_LENGTH as i64])
    }

    /// Symbols of one word: its bytes, where the pair of lowest rank is merged until no pair is
    /// known. The last symbol carries `</w>`.
    fn merge(&self, word: &str) -> Vec<String> {
        let mut symbols: Vec<String> = word
            .bytes()
            .map(|byte| self.bytes[usize::from(byte)].to_string())
            .collect();
        if let Some(last) = symbols.last_mut() {
            // Ends of words are symbols of their own: `low` in `lower` is another token than the
            // word.
            last.push_str("</w>");
        }
        let rank = |pair: &[String]| self.ranks.get(&(pair[0].clone(), pair[1].clone())).copied();
        while let Some(best) = symbols.windows(2).filter_map(rank).min() {
            let mut merged = Vec::with_capacity(symbols.len());
            let mut at = 0;
            // All occurrences at once, from the left.
            while at < symbols.len() {
                if at + 1 < symbols.len() && rank(&symbols[at..at + 2]) == Some(best) {
                    merged.push(symbols[at].clone() + &symbols[at + 1]);
                    at += 2;
                } else {
                    merged.push(symbols[at].clone());
                    at += 1;
                }
            }
            symbols = merged;
        }
        symbols
    }
}

/// All bytes in GPT-2's order: those that are printable characters in Latin-1, then all others.
fn byte_order() -> Vec<u8> {
    let visible = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let (own, other): (Vec<u8>, Vec<u8>) = (0..=255u8).partition(visible);
    own.into_iter().chain(other).collect()
}

/// A printable character for each byte: its own where it has one, else the next from U+0100 on.
/// The vocabulary file is text, and white space separates its symbols.
fn byte_characters() -> [char; 256] {
    let mut table = ['\0'; 256];
    let mut next = 0x100;
    for byte in byte_order() {
        let own = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if own { u32::from(byte) } else { next };
        if !own {
            next += 1;
        }
        table[usize::from(byte)] =
            char::from_u32(code).expect("invariant: codes below U+0200 are characters");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_character_of_gpt2() {
        let table = byte_characters();
        assert_eq!(
            (
                table[b'a' as usize],
                table[0],
                table[b' ' as usize],
                table[0xad]
            ),
            ('a', '\u{100}', '\u{120}', '\u{143}')
        );
        let unique: std::collections::HashSet<char> = table.into_iter().collect();
        assert_eq!(unique.len(), 256);
    }

    #[test]
    fn the_lowest_rank_is_merged_first() {
        let tokenizer = Tokenizer::over(&[
            ("l", "o"),
            ("lo", "w</w>"),
            ("w", "e"),
            ("we", "r</w>"),
            ("e", "r</w>"),
        ]);
        assert_eq!(tokenizer.merge("low"), ["low</w>"]);
        assert_eq!(tokenizer.merge("lower"), ["lo", "wer</w>"]);
        let ids = tokenizer.encode("LOW  lower");
        assert_eq!(ids, [517, 513, 512, 515, 518]);
        let long = tokenizer.encode(&"low ".repeat(100));
        assert_eq!((long.len(), long[75], long[76]), (77, 513, 518));
    }
}
