//! Bounds of this crate, with their units.

/// Bytes of one message between agent, zygote and supervisor.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one log line; longer ones are cut into parts. CloudWatch Logs counts 26 bytes of its
/// own towards the 256 KiB an event may have.
pub const LOG_LINE_BYTES_MAX: usize = 256 * 1024 - 26;
/// Bytes of unread log a container may have when its launch says nothing.
pub const LOG_SPOOL_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Bytes read from a container's output at a time.
pub const LOG_READ_BYTES: usize = 16 * 1024;
/// Acknowledged bytes are given back to the file system in steps of this many bytes.
pub const LOG_PUNCH_BYTES: u64 = 1024 * 1024;
/// Containers of one task.
pub const CONTAINERS_PER_TASK_MAX: usize = 16;
/// Bytes of a health check's output that are kept (as many as Docker keeps).
pub const HEALTH_OUTPUT_BYTES_MAX: usize = 4096;
/// Processes of one task when its spec says nothing.
pub const PIDS_PER_TASK_DEFAULT: u32 = 4096;
/// Events between runtime and agent that are waiting to be read.
pub const EVENTS_WAITING_MAX: usize = 4096;
/// `nofile` of a container that names none (Fargate's own default).
pub const NOFILE_DEFAULT: u64 = 65535;
/// How long a removal may take before it is reported as failed, in milliseconds.
pub const REMOVE_TIMEOUT_MS: u64 = 20_000;
/// How long a restarted agent waits for a living supervisor to listen, in milliseconds.
pub const RECONNECT_TIMEOUT_MS: u64 = 5_000;
/// Connections to a listener in a VPC that nobody has accepted yet; the kernel's own bound is 4096.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Ephemeral storage of a task that asks for none, in GiB; file systems of this size are made
/// before they are asked for. Source: developer guide, fargate-task-storage.
pub const STORAGE_GIB_DEFAULT: u32 = 20;
/// Files a task may have are bounded with their bytes: one for each so many KiB.
pub const STORAGE_KIB_PER_INODE: u64 = 16;
/// MiB on the disk below which an operator is warned at the start.
pub const STORAGE_ROOM_WARN_MIB: u64 = 1024;
/// MiB that must be free on the disk for a task to start.
pub const STORAGE_ROOM_MIN_MIB: u64 = 64;
/// Bytes of the kernel's mount options; more need the short names of open directories.
pub const MOUNT_OPTIONS_BYTES_MAX: usize = 4000;
/// Bytes of a user database (/etc/passwd, /etc/group) of an image that are read.
pub const USER_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// VPCs of one instance: each needs a /30 of the uplinks' range.
pub const VPCS_MAX: u32 = 4096;
/// Bytes a supervisor holds for an agent that doesn't read; beyond it events are given up and the
/// whole observed state is sent when the agent reads again.
pub const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// How long a process that has begun to die may hold its lock, in milliseconds.
pub const DYING_TIMEOUT_MS: u64 = 1_000;
