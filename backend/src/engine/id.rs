//! Document ids: 20 bytes in Crockford's base32, lower case, 32 characters: table number (2), random (12), time
//! (4, in front of the random part), checksum (2). The table is readable from the id, as `v.id(table)` needs.
//!
//! The time comes first so that new rows land beside each other in the `by_id` index; nothing else relies on it.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BYTES: usize = 20;
const CHARACTERS: usize = 32;

/// A table's number, stable for the life of the deployment.
pub type TableNumber = u16;

/// The table of scheduled functions, whose ids `ctx.scheduler` gives out.
pub const SCHEDULED: TableNumber = 1;
/// The first number a user's table gets.
pub const FIRST_USER_TABLE: TableNumber = 1001;

/// A new id of a table.
pub fn new(table: TableNumber, now_ms: u64) -> String {
    let mut bytes = [0; BYTES];
    bytes[..2].copy_from_slice(&table.to_be_bytes());
    // Seconds, in 32 bits: enough to keep neighbours together until 2106.
    bytes[2..6].copy_from_slice(&((now_ms / 1000) as u32).to_be_bytes());
    rand::Rng::fill(&mut rand::rng(), &mut bytes[6..18]);
    let sum = checksum(&bytes[..18]);
    bytes[18..].copy_from_slice(&sum.to_be_bytes());
    encode(&bytes)
}

/// The table that an id belongs to; the error says what is wrong with the text.
pub fn table_of(id: &str) -> Result<TableNumber, String> {
    if id.len() != CHARACTERS {
        return Err(format!("Invalid ID length {}", id.len()));
    }
    let bytes = decode(id).ok_or("Invalid ID: it has a character that no ID has")?;
    let sum = u16::from_be_bytes([bytes[18], bytes[19]]);
    if sum != checksum(&bytes[..18]) {
        return Err("Invalid ID: its checksum does not match".into());
    }
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Fletcher-16: catches swapped and mistyped characters.
fn checksum(bytes: &[u8]) -> u16 {
    let (low, high) = bytes.iter().fold((1u16, 0u16), |(low, high), byte| {
        let low = (low + u16::from(*byte)) % 255;
        (low, (high + low) % 255)
    });
    high << 8 | low
}

fn encode(bytes: &[u8; BYTES]) -> String {
    let mut text = String::with_capacity(CHARACTERS);
    for group in bytes.chunks(5) {
        let bits = group
            .iter()
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for at in (0..8).rev() {
            text.push(char::from(ALPHABET[(bits >> (at * 5) & 31) as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    for (group, out) in text.as_bytes().chunks(8).zip(bytes.chunks_mut(5)) {
        let mut bits = 0u64;
        for character in group {
            bits = bits << 5 | ALPHABET.iter().position(|known| known == character)? as u64;
        }
        out.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_knows_its_table() {
        for table in [1, FIRST_USER_TABLE, u16::MAX] {
            let id = new(table, 1_700_000_000_000);
            assert_eq!(id.len(), 32);
            assert_eq!(table_of(&id), Ok(table));
        }
        assert_ne!(new(1, 0), new(1, 0));
    }

    #[test]
    fn a_damaged_id_is_refused() {
        let id = new(FIRST_USER_TABLE, 0);
        let mut swapped = id.clone();
        swapped.replace_range(..1, if id.starts_with('0') { "1" } else { "0" });
        assert!(table_of(&swapped).unwrap_err().contains("checksum"));
        assert_eq!(table_of("short").unwrap_err(), "Invalid ID length 5");
        assert!(table_of(&"U".repeat(32)).unwrap_err().contains("character"));
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(new(7, 1_000_000) < new(7, 9_000_000));
    }
}
