//! Fargate's task sizes: how `cpu` and `memory` may be written, and which pairs exist. Source: ECS
//! developer guide, fargate-tasks-services (task CPU and memory), checked against probes of the
//! real service for all sizes below 32 vCPU.

/// CPU units of one vCPU.
pub const CPU_UNITS_PER_VCPU: u32 = 1024;
const MIB_PER_GIB: f64 = 1024.0;

/// A row of the table: the CPU size and the memory sizes that go with it.
struct Row {
    cpu_units: u32,
    memory_mib: Memory,
}

enum Memory {
    Any(&'static [u32]),
    Steps { min: u32, max: u32, step: u32 },
}

const TABLE: &[Row] = &[
    Row { cpu_units: 256, memory_mib: Memory::Any(&[512, 1024, 2048]) },
    Row { cpu_units: 512, memory_mib: Memory::Steps { min: 1024, max: 4096, step: 1024 } },
    Row { cpu_units: 1024, memory_mib: Memory::Steps { min: 2048, max: 8192, step: 1024 } },
    Row { cpu_units: 2048, memory_mib: Memory::Steps { min: 4096, max: 16384, step: 1024 } },
    Row { cpu_units: 4096, memory_mib: Memory::Steps { min: 8192, max: 30720, step: 1024 } },
    Row { cpu_units: 8192, memory_mib: Memory::Steps { min: 16384, max: 61440, step: 4096 } },
    Row { cpu_units: 16384, memory_mib: Memory::Steps { min: 32768, max: 122_880, step: 8192 } },
    Row { cpu_units: 32768, memory_mib: Memory::Any(&[61440, 122_880, 249_856]) },
];

/// Whether Fargate has a size of this CPU and memory.
pub fn exists(cpu_units: u32, memory_mib: u32) -> bool {
    TABLE.iter().filter(|row| row.cpu_units == cpu_units).any(|row| match row.memory_mib {
        Memory::Any(sizes) => sizes.contains(&memory_mib),
        Memory::Steps { min, max, step } => {
            (min..=max).contains(&memory_mib) && (memory_mib - min).is_multiple_of(step)
        }
    })
}

/// Reads a task's `cpu`: CPU units (`256`) or vCPUs (`.25 vCPU`, `1 vcpu`). None: no such form.
pub fn parse_cpu_units(text: &str) -> Option<u32> {
    let text = text.trim();
    match strip_unit(text, &["vcpus", "vcpu"]) {
        Some(number) => whole(decimal(number)? * f64::from(CPU_UNITS_PER_VCPU)),
        None => text.parse().ok().filter(|units| *units > 0),
    }
}

/// Reads a task's `memory`: MiB (`512`) or GB (`1GB`, `.5 GB`). None: no such form.
pub fn parse_memory_mib(text: &str) -> Option<u32> {
    let text = text.trim();
    match strip_unit(text, &["gb"]) {
        Some(number) => whole(decimal(number)? * MIB_PER_GIB),
        None => text.parse().ok().filter(|mib| *mib > 0),
    }
}

/// The number before a unit, which may be written in any case.
fn strip_unit<'a>(text: &'a str, units: &[&str]) -> Option<&'a str> {
    units.iter().find_map(|unit| {
        let at = text.len().checked_sub(unit.len())?;
        let tail = text.get(at..)?;
        tail.eq_ignore_ascii_case(unit).then(|| text[..at].trim_end())
    })
}

/// Digits with at most one point; `f64::from_str` would also take `inf`, `nan` and exponents.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let points = text.bytes().filter(|b| *b == b'.').count();
    let plain = digits > 0 && points <= 1 && digits + points == text.len() && text.len() <= 12;
    if plain { text.parse().ok() } else { None }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(value: f64) -> Option<u32> {
    let fits = value >= 1.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0;
    fits.then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_sizes_as_the_real_service_has() {
        let memories = || (0..=300_000).step_by(256);
        let count = |cpu| memories().filter(|memory| exists(cpu, *memory)).count();
        let counts: Vec<usize> = TABLE.iter().map(|row| count(row.cpu_units)).collect();
        assert_eq!(counts, [3, 4, 7, 13, 23, 12, 12, 3]);
    }

    #[test]
    fn sizes_beside_the_steps_do_not_exist() {
        for (cpu, memory) in [
            (256, 4096),
            (256, 513),
            (1024, 9216),
            (1024, 2560),
            (2048, 17408),
            (4096, 31744),
            (8192, 17408),
            (8192, 18432),
            (8192, 62464),
            (16384, 33792),
            (16384, 36864),
            (16384, 131_072),
            (128, 512),
            (0, 0),
            (32768, 65536),
        ] {
            assert!(!exists(cpu, memory), "{cpu}/{memory}");
        }
    }

    #[test]
    fn both_ways_of_writing_a_size_are_read() {
        for (text, units) in [
            ("256", Some(256)),
            (".25 vCPU", Some(256)),
            ("0.25vCPU", Some(256)),
            ("1 vcpu", Some(1024)),
            (" 2 vCPU ", Some(2048)),
            ("16 VCPU", Some(16384)),
            ("", None),
            ("vCPU", None),
            ("-1", None),
            ("0", None),
            ("1e3", None),
            ("inf vCPU", None),
            (".0001 vCPU", None),
            ("1.5.5 vCPU", None),
            ("256 GB", None),
            ("é", None),
        ] {
            assert_eq!(parse_cpu_units(text), units, "{text}");
        }
        for (text, mib) in [
            ("512", Some(512)),
            ("1GB", Some(1024)),
            (".5 GB", Some(512)),
            ("2 gb", Some(2048)),
            ("30 GB", Some(30720)),
            ("GB", None),
            ("1 TB", None),
            ("99999999999 GB", None),
        ] {
            assert_eq!(parse_memory_mib(text), mib, "{text}");
        }
    }
}
