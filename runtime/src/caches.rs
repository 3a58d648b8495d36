//! Where what can be made again is kept from one run to the next.

use std::path::PathBuf;

/// The folder: `$LMV_CACHE`, or `lmv` in the user's folder for caches. None for `LMV_CACHE=off`, and where no variable tells of
/// a home. It need not be there.
pub fn folder(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let said = |name: &str| environment(name).filter(|path| !path.is_empty());
    let home = || said("HOME").or_else(|| said("USERPROFILE")).map(PathBuf::from);
    let caches = || said("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cache")));
    match said("LMV_CACHE") {
        Some(off) if off == "off" => None,
        Some(folder) => Some(folder.into()),
        None => Some(caches()?.join("lmv")),
    }
}
