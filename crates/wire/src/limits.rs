//! The bounds of what `wire` reads. A request beyond one is refused, never cut.

/// Parameters of one query-protocol request.
pub const FORM_PARAMETERS_MAX: usize = 10_000;
/// Dots in the name of a query parameter. The deepest name any model of ours gives has six.
pub const FORM_DEPTH_MAX: usize = 16;
/// Collections in collections of a CBOR body. JSON's reader has a bound of its own, 128.
pub const CBOR_DEPTH_MAX: usize = 64;
/// The constraint violations a request is told of. AWS counts them all but nobody reads on.
pub const VIOLATIONS_MAX: usize = 20;
/// Characters of a refused value that are repeated in an error message.
pub const VALUE_SHOWN_CHARS_MAX: usize = 256;
/// How far a client's clock may be off, either way.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 15 * 60;
/// Seven days.
pub const PRESIGNED_EXPIRY_SECONDS_MAX: i64 = 604_800;
pub const AUTHORIZATION_BYTES_MAX: usize = 8 * 1024;
pub const SIGNED_HEADERS_MAX: usize = 100;
pub const ACCESS_KEY_ID_CHARS_MAX: usize = 128;
/// Derived signing keys that are kept: one per access key, day, region and service.
pub const SIGNING_KEYS_MAX: usize = 1024;
