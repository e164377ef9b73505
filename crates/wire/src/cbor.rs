//! CBOR as Smithy's RPC protocol speaks it (`smithy-rpc-v2-cbor`): JSON's members in a binary form,
//! with moments as tagged doubles. Reading goes through JSON's values, which keeps every rule of
//! the generated types in one place; writing goes straight into a buffer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::ser::{self, Impossible, Serialize, Serializer};
use serde_json::{Map, Number, Value};

use crate::DecodeError;
use crate::limits::CBOR_DEPTH_MAX;

/// The name under which a timestamp hands over its seconds, so that they get their tag.
pub(crate) const TIMESTAMP: &str = "neargate.Timestamp";

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
const TAG_EPOCH: u64 = 1;

/// Reads a request's body. No body at all means no member is set.
pub fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, DecodeError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let mut reader = Reader { rest: body };
    let value = reader.value(0)?;
    if !reader.rest.is_empty() {
        return Err(DecodeError::new("The request body is not valid CBOR: more than one value"));
    }
    serde_json::from_value(value).map_err(|error| DecodeError::from_json(&error))
}

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    value.serialize(Writer { out: &mut out }).expect("generated types have no form that fails");
    out
}

struct Reader<'a> {
    rest: &'a [u8],
}

fn invalid(what: &str) -> DecodeError {
    DecodeError::new(format!("The request body is not valid CBOR: {what}"))
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| invalid("cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// The number in a head's low bits or behind it.
    fn argument(&mut self, low: u8) -> Result<u64, DecodeError> {
        let count = match low {
            0..=23 => return Ok(u64::from(low)),
            24..=27 => 1 << (low - 24),
            _ => return Err(invalid("a reserved length")),
        };
        Ok(self.take(count)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth > CBOR_DEPTH_MAX {
            return Err(invalid("nested too deeply"));
        }
        let head = self.byte()?;
        let (major, low) = (head >> 5, head & 0x1f);
        match major {
            UNSIGNED => Ok(self.argument(low)?.into()),
            NEGATIVE => {
                let argument = i64::try_from(self.argument(low)?);
                Ok((-1 - argument.map_err(|_| invalid("a number out of range"))?).into())
            }
            BYTES => Ok(STANDARD.encode(self.string(major, low)?).into()),
            TEXT => {
                let text = String::from_utf8(self.string(major, low)?);
                Ok(text.map_err(|_| invalid("text that is not UTF-8"))?.into())
            }
            ARRAY => self.array(low, depth),
            MAP => self.map(low, depth),
            TAG => {
                self.argument(low)?;
                self.value(depth + 1)
            }
            _ => self.simple(low),
        }
    }

    /// Bytes or text, in one piece or in several.
    fn string(&mut self, major: u8, low: u8) -> Result<Vec<u8>, DecodeError> {
        if low != INDEFINITE {
            let length = self.length(low)?;
            return Ok(self.take(length)?.to_vec());
        }
        let mut whole = Vec::new();
        while !self.ends()? {
            let head = self.byte()?;
            if head >> 5 != major || head & 0x1f == INDEFINITE {
                return Err(invalid("a piece of another kind"));
            }
            let length = self.length(head & 0x1f)?;
            whole.extend_from_slice(self.take(length)?);
        }
        Ok(whole)
    }

    /// A count that may be true: everything counted takes a byte at least.
    fn length(&mut self, low: u8) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.argument(low)?).unwrap_or(usize::MAX);
        if length > self.rest.len() { Err(invalid("cut off")) } else { Ok(length) }
    }

    /// Whether the mark that ends a collection of unsaid length comes now; takes it if so.
    fn ends(&mut self) -> Result<bool, DecodeError> {
        let ended = *self.rest.first().ok_or_else(|| invalid("cut off"))? == BREAK;
        if ended {
            self.rest = &self.rest[1..];
        }
        Ok(ended)
    }

    fn array(&mut self, low: u8, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        if low == INDEFINITE {
            while !self.ends()? {
                items.push(self.value(depth + 1)?);
            }
        } else {
            for _ in 0..self.length(low)? {
                items.push(self.value(depth + 1)?);
            }
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, low: u8, depth: usize) -> Result<Value, DecodeError> {
        let mut members = Map::new();
        if low == INDEFINITE {
            while !self.ends()? {
                self.member(&mut members, depth)?;
            }
        } else {
            for _ in 0..self.length(low)? {
                self.member(&mut members, depth)?;
            }
        }
        Ok(Value::Object(members))
    }

    fn member(
        &mut self,
        members: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let Value::String(name) = self.value(depth + 1)? else {
            return Err(invalid("a member's name is no text"));
        };
        members.insert(name, self.value(depth + 1)?);
        Ok(())
    }

    fn simple(&mut self, low: u8) -> Result<Value, DecodeError> {
        let number = match low {
            20 => return Ok(Value::Bool(false)),
            21 => return Ok(Value::Bool(true)),
            22 | 23 => return Ok(Value::Null),
            25 => half(self.argument(low)? as u16),
            26 => f64::from(f32::from_bits(self.argument(low)? as u32)),
            27 => f64::from_bits(self.argument(low)?),
            _ => return Err(invalid("a simple value that means nothing")),
        };
        let number = Number::from_f64(number).ok_or_else(|| invalid("not a finite number"))?;
        Ok(Value::Number(number))
    }
}

/// IEEE 754's number of two bytes (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(i32::from(exponent) - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let first = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(first | bytes[7]),
        24..=0xff => out.extend([first | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(first | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(first | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(first | 27);
            out.extend(bytes);
        }
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

/// What `Serializer` asks for and no generated type needs.
#[derive(Debug)]
pub struct NoForm(String);

impl fmt::Display for NoForm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for NoForm {}

impl ser::Error for NoForm {
    fn custom<T: fmt::Display>(message: T) -> NoForm {
        NoForm(message.to_string())
    }
}

fn no_form<T>(what: &str) -> Result<T, NoForm> {
    Err(NoForm(format!("{what} has no form in CBOR here")))
}

macro_rules! integers {
    ($($function:ident($type:ty)),*) => {$(
        fn $function(self, value: $type) -> Result<(), NoForm> {
            let value = i64::from(value);
            match u64::try_from(value) {
                Ok(value) => head(self.out, UNSIGNED, value),
                Err(_) => head(self.out, NEGATIVE, value.unsigned_abs() - 1),
            }
            Ok(())
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = NoForm;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Impossible<(), NoForm>;
    type SerializeTupleStruct = Impossible<(), NoForm>;
    type SerializeTupleVariant = Impossible<(), NoForm>;
    type SerializeMap = Items<'a>;
    type SerializeStruct = Impossible<(), NoForm>;
    type SerializeStructVariant = Impossible<(), NoForm>;

    integers!(
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32)
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), NoForm> {
        self.out.push(SIMPLE << 5 | if value { 21 } else { 20 });
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), NoForm> {
        head(self.out, UNSIGNED, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), NoForm> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), NoForm> {
        self.out.push(SIMPLE << 5 | 27);
        self.out.extend(value.to_bits().to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), NoForm> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), NoForm> {
        head(self.out, TEXT, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), NoForm> {
        head(self.out, BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NoForm> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NoForm> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NoForm> {
        self.out.push(SIMPLE << 5 | 22);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NoForm> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), NoForm> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NoForm> {
        if name == TIMESTAMP {
            head(self.out, TAG, TAG_EPOCH);
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NoForm> {
        no_form("a variant with a value")
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'a>, NoForm> {
        Ok(Items::begin(self.out, ARRAY, length))
    }

    fn serialize_tuple(self, _: usize) -> Result<Impossible<(), NoForm>, NoForm> {
        no_form("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), NoForm>, NoForm> {
        no_form("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), NoForm>, NoForm> {
        no_form("a variant with values")
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'a>, NoForm> {
        Ok(Items::begin(self.out, MAP, length))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Impossible<(), NoForm>, NoForm> {
        no_form("a structure that is no map")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), NoForm>, NoForm> {
        no_form("a variant with members")
    }
}

/// A list or a map being written; of unsaid length it ends with a mark.
struct Items<'a> {
    out: &'a mut Vec<u8>,
    marked: bool,
}

impl<'a> Items<'a> {
    fn begin(out: &'a mut Vec<u8>, major: u8, length: Option<usize>) -> Items<'a> {
        match length {
            Some(length) => head(out, major, length as u64),
            None => out.push(major << 5 | INDEFINITE),
        }
        Items { out, marked: length.is_none() }
    }

    fn finish(self) {
        if self.marked {
            self.out.push(BREAK);
        }
    }
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = NoForm;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), NoForm> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeMap for Items<'_> {
    type Ok = ();
    type Error = NoForm;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoForm> {
        key.serialize(Writer { out: self.out })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), NoForm> {
        self.finish();
        Ok(())
    }
}
