//! The JSON protocols' reading and writing: straight between bytes and the generated types. The
//! macros pair fields with AWS's names and make what a derive would, in a fraction of the code: a
//! structure is only ever a map here, nothing is required, and what is unknown is passed over.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;

use crate::DecodeError;

/// Reads a request's body. No body at all means no member is set.
pub fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, DecodeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| DecodeError::from_json(&error))
}

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Maps have string keys and no type of ours fails, so nothing is left that could.
    serde_json::to_vec(value).expect("generated types have string keys only")
}

/// A structure being read: takes the member `name`, or leaves it and says so.
pub trait Members<'de>: Default {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, value: &mut A) -> Result<bool, A::Error>;
}

pub(crate) struct StructureVisitor<T>(pub PhantomData<T>);

impl<'de, T: Members<'de>> Visitor<'de> for StructureVisitor<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a structure")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut out = T::default();
        while let Some(Name(name)) = map.next_key()? {
            if !out.member(&name, &mut map)? {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(out)
    }
}

/// A member's name, borrowed from the body unless it has escapes in it.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Name<'de>, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        input.deserialize_str(NameVisitor)
    }
}

/// Writes a member that is set.
pub(crate) fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &'static str,
    value: &Option<T>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

macro_rules! json_input {
    ($name:ident, [$($field:ident = $wire:literal),* $(,)?]) => {
        impl $name {
            /// The members a request may set, by AWS's names.
            pub const MEMBERS: &'static [&'static str] = &[$($wire),*];
        }

        impl<'de> $crate::json::Members<'de> for $name {
            #[allow(unused_variables)]
            fn member<A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                value: &mut A,
            ) -> Result<bool, A::Error> {
                match name {
                    $($wire => self.$field = value.next_value()?,)*
                    _ => return Ok(false),
                }
                #[allow(unreachable_code)]
                Ok(true)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<$name, D::Error> {
                input.deserialize_map($crate::json::StructureVisitor(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use json_input;

macro_rules! json_output {
    ($name:ident, [$($field:ident = $wire:literal),* $(,)?]) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                #[allow(unused_mut)]
                let mut map = out.serialize_map(None)?;
                $($crate::json::entry(&mut map, $wire, &self.$field)?;)*
                serde::ser::SerializeMap::end(map)
            }
        }
    };
}
pub(crate) use json_output;

macro_rules! json_shape {
    ($name:ident, $members:tt) => {
        $crate::json_input!($name, $members);
        $crate::json_output!($name, $members);
    };
}
pub(crate) use json_shape;
