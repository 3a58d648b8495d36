//! Numbers as people read them.

/// Three digits with a prefix: `384`, `22.1 M`, `4.6 G`.
pub fn si(number: f64) -> String {
    scaled(number, 1000.0, &["", "K", "M", "G", "T", "P", "E"])
}

/// A count as it is, in groups of three digits: `22,050,664`.
pub fn exact(count: f64) -> String {
    let digits = format!("{count:.0}");
    let groups: Vec<&str> = {
        let first = digits.len() % 3;
        let rest = (first..digits.len()).step_by(3).map(|at| &digits[at..at + 3]);
        std::iter::once(&digits[..first]).filter(|group| !group.is_empty()).chain(rest).collect()
    };
    groups.join(",")
}

/// Bytes with a binary prefix: `1.2 GiB`.
pub fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn scaled(number: f64, step: f64, prefixes: &[&str]) -> String {
    let (mut number, mut prefix) = (number, 0);
    // What would be rounded up to a whole step belongs to the next prefix.
    while number >= step - 0.5 && prefix + 1 < prefixes.len() {
        number /= step;
        prefix += 1;
    }
    let digits = usize::from(prefix > 0 && number < 99.95);
    format!("{number:.digits$} {}", prefixes[prefix]).trim_end().to_owned()
}

/// `12 s`, `3 min 20 s`, `1 h 3 min`, `2 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".into();
    }
    // A float cast saturates, and time is not negative.
    let seconds = seconds.max(0.0).round() as u64;
    let two = |big: u64, unit: &str, small: u64, below: &str| match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {below}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

/// `1 spec`, `3 specs`.
pub fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_about_three_digits() {
        let shown: Vec<String> =
            [0.0, 384.0, 999.0, 1000.0, 22_050_664.0, 999_600.0, 202_383_360.0, 4.6e9].map(si).into();
        assert_eq!(shown, ["0", "384", "999", "1.0 K", "22.1 M", "1.0 M", "202 M", "4.6 G"]);
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(809_533_440.0), "772 MiB");
    }

    #[test]
    fn times_name_their_two_largest_units() {
        let shown: Vec<String> = [0.4, 12.0, 60.0, 200.0, 3780.0, 187_200.0].map(duration).into();
        assert_eq!(shown, ["0 s", "12 s", "1 min", "3 min 20 s", "1 h 3 min", "2 d 4 h"]);
        assert_eq!(duration(f64::INFINITY), "?");
    }
}
