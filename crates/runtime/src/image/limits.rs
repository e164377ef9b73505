//! Bounds of the image side, with their units. Images are hostile until proven otherwise, so
//! everything that an image or a registry can make large, long or slow has its bound here.

use std::time::Duration;

/// Characters of a reference as a task definition may hold it (repository names are bounded apart).
pub const REFERENCE_CHARS_MAX: usize = 1024;
/// Characters of a repository name with its registry host (Docker's bound).
pub const REPOSITORY_CHARS_MAX: usize = 255;
/// Bytes of a manifest or an index (what registries accept at most).
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of an image's configuration.
pub const CONFIG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of a token server's answer.
pub const TOKEN_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of an error body that are read for its message.
pub const ERROR_BODY_BYTES_MAX: u64 = 64 * 1024;
/// Layers of one image (Docker's bound; overlay itself takes 500).
pub const LAYERS_MAX: usize = 127;
/// An index may name an index, but not for ever.
pub const INDEX_DEPTH_MAX: usize = 3;
/// Bytes of one compressed layer.
pub const LAYER_COMPRESSED_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes of one unpacked layer, holes counted as if they were written.
pub const LAYER_UNPACKED_BYTES_MAX: u64 = 128 * 1024 * 1024 * 1024;
/// Unpacked bytes per compressed byte, once more than `RATIO_FREE_BYTES` are unpacked. Real layers
/// stay below 20; gzip can reach 1,032, zstd far more.
pub const RATIO_MAX: u64 = 200;
/// Unpacked bytes of a layer below which its ratio does not matter.
pub const RATIO_FREE_BYTES: u64 = 1024 * 1024 * 1024;
/// Entries of one layer.
pub const LAYER_ENTRIES_MAX: u64 = 2_000_000;
/// Directories of one layer whose attributes are taken from lower layers; more stay plain.
pub const IMPLIED_DIRECTORIES_MAX: usize = 4096;
/// Bytes of a path, as the kernel has it.
pub const PATH_BYTES_MAX: usize = 4095;
/// Bytes of a PAX header or a GNU long name.
pub const TAR_EXTENSION_BYTES_MAX: u64 = 1024 * 1024;
/// Data segments of one sparse file.
pub const SPARSE_SEGMENTS_MAX: usize = 1 << 16;
/// Bytes of the one extended attribute that is kept (the kernel's struct has 24 at most).
pub const CAPABILITY_BYTES_MAX: usize = 64;
/// Memory a zstd frame may ask for: log2 of bytes, 128 MiB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Layers of one pull that are fetched and unpacked side by side.
pub const LAYERS_SIDE_BY_SIDE: usize = 4;
/// Layers of all pulls together: each takes two threads and some 6 MiB of buffers.
pub const LAYERS_AT_ONCE_MAX: usize = 32;
/// Chunks between network and inflater, each of `READ_BYTES` at most.
pub const CHUNKS_WAITING_MAX: usize = 8;
/// Bytes of one buffer between inflater and writer.
pub const BUFFER_BYTES: usize = 1024 * 1024;
/// Buffers of one layer between inflater and writer.
pub const BUFFERS_PER_LAYER: usize = 4;
/// Bytes read from a connection at a time.
pub const READ_BYTES: usize = 256 * 1024;
/// When unpacking has failed, a rest of this many bytes is still fetched to learn whether the
/// digest was a lie, which is the better explanation.
pub const DRAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Redirects followed for one request.
pub const REDIRECTS_MAX: usize = 5;
/// Attempts for one manifest, configuration or token.
pub const ATTEMPTS_MAX: u32 = 5;
/// Resumptions of one blob in a row without a byte of progress.
pub const BLOB_STALLS_MAX: u32 = 5;
/// Resumptions of one blob in all.
pub const BLOB_RESUMES_MAX: u32 = 50;
/// First pause between attempts; each next is twice as long.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The longest pause that a registry may ask for (`Retry-After`); a pull that should wait longer
/// fails at once instead.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Bytes of a proxy's answer to CONNECT.
pub const PROXY_HEAD_BYTES_MAX: usize = 8 * 1024;
/// To connect to one address, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From request to response headers.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte of a body.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole pull, however alive it looks.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// A kept connection without a request.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Kept connections for one host.
pub const POOL_IDLE_PER_HOST: usize = 8;
/// Lifetime of a token whose server names none, in seconds (the distribution protocol's default).
pub const TOKEN_SECONDS_DEFAULT: u64 = 60;
/// A token is renewed when it has this little left, in seconds.
pub const TOKEN_MARGIN_SECONDS: u64 = 10;
/// Tokens remembered at once.
pub const TOKENS_MAX: usize = 1024;

/// Characters of a reason as ECS shows it.
pub const REASON_CHARS_MAX: usize = 1024;

/// How long an image stays after its last use (ECS_IMAGE_MINIMUM_CLEANUP_AGE's default).
pub const IMAGE_MINIMUM_AGE: Duration = Duration::from_secs(60 * 60);
/// Images removed at a time because of their age (ECS_NUM_IMAGES_DELETE_PER_CYCLE's default).
pub const IMAGES_PER_CLEANUP_MAX: usize = 5;
/// Percent of the disk in use above which unused images go whatever their age.
pub const DISK_PERCENT_MAX: u8 = 85;
/// Percent below that bound that such a cleanup aims for.
pub const DISK_PERCENT_MARGIN: u8 = 5;
