//! DER as far as certificates and keys need it: elements one after the other, read out of a slice
//! and never past its end. Lengths are definite and tags short, or there is nothing to read.

/// Tags of the universal class, and how context-specific ones begin.
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub struct Der<'a>(pub &'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length: what a signature is over.
    pub whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub fn next(&mut self) -> Option<Element<'a>> {
        let all = self.0;
        let (tag, first) = (*all.first()?, *all.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let digits = all.get(2..2 + count)?;
            let length = digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (2 + count, length)
        };
        let end = header.checked_add(length)?;
        let (whole, content) = (all.get(..end)?, all.get(header..end)?);
        self.0 = &all[end..];
        Some(Element { tag, content, whole })
    }

    /// The next element, if it has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next element, only if it has this tag; otherwise nothing is read.
    pub fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.0.first() == Some(&tag) { self.next() } else { None }
    }
}

impl<'a> Element<'a> {
    pub fn inside(&self) -> Der<'a> {
        Der(self.content)
    }

    /// The bytes of a bit string of whole bytes.
    pub fn bits(&self) -> Option<&'a [u8]> {
        match self.content {
            [0, rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_and_nothing_past_the_end() {
        let mut der = Der(&[0x02, 1, 5, 0x04, 0x81, 2, 7, 8]);
        assert_eq!(der.expect(INTEGER).expect("one").content, [5]);
        assert!(der.optional(INTEGER).is_none());
        assert_eq!(der.expect(OCTET_STRING).expect("one").content, [7, 8]);
        assert!(der.next().is_none());
        for bad in [&[][..], &[2], &[2, 1], &[2, 0x80, 0], &[0x1f, 1, 0], &[2, 0x85, 0, 0, 0, 0, 1]]
        {
            assert!(Der(bad).next().is_none(), "{bad:?}");
        }
        let huge = [2, 0x84, 0xff, 0xff, 0xff, 0xff, 0];
        assert!(Der(&huge).next().is_none());
    }
}
