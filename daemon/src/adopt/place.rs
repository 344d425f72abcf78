//! From the URL that a file was put at to its path in the root of its RSE.

use percent_encoding::percent_decode_str;
use runsync_config::root::Root;
use runsync_manifest::error::NameError;
use runsync_manifest::name::ArtifactPath;

/// Why a URL names no artifact of a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    /// It begins with something else than what lies in the root.
    #[error("`{url}` does not begin with `{prefix}`, where root `{root}` lies")]
    Elsewhere {
        /// The URL.
        url: String,
        /// What it should begin with.
        prefix: String,
        /// The root.
        root: String,
    },
    /// Its percent-encoding is broken, or hides a separator.
    #[error("`{url}` holds a broken or forbidden percent-encoding")]
    Encoding {
        /// The URL.
        url: String,
    },
    /// What is left is no artifact's path.
    #[error("`{url}` names no artifact")]
    Path {
        /// The URL.
        url: String,
        /// The rule that it breaks.
        source: NameError,
    },
}

/// The longest URL that is shown.
const SHOWN_CHARS: usize = 200;

/// Where the file at `url` lies in `root`: the URL less the root's `pfn_prefix`, or its own URL, which it must
/// begin with; percent-decoded once; with single slashes.
///
/// # Errors
///
/// [`PlaceError`].
pub(super) fn path_in(root: &Root, url: &str) -> Result<ArtifactPath, PlaceError> {
    let shown = || url.chars().take(SHOWN_CHARS).collect::<String>();
    let rest = match &root.pfn_prefix {
        Some(prefix) => url.strip_prefix(prefix.as_str()).map(str::to_owned),
        None => below_folder(root, url),
    };
    let rest = rest.ok_or_else(|| PlaceError::Elsewhere {
        url: shown(),
        prefix: match &root.pfn_prefix {
            Some(prefix) => prefix.as_str().to_owned(),
            None => format!("{}/", root.url()),
        },
        root: root.name.to_string(),
    })?;
    let decoded = decode(&rest).ok_or_else(|| PlaceError::Encoding { url: shown() })?;
    single_slashes(&decoded)
        .parse()
        .map_err(|source| PlaceError::Path {
            url: shown(),
            source,
        })
}

/// The rest of a `file` URL below the root's folder. The host is that of whoever wrote it: the folder counts.
fn below_folder(root: &Root, url: &str) -> Option<String> {
    let (_, path) = url.strip_prefix("file://")?.split_once('/')?;
    let folder = root.directory.to_str()?.trim_start_matches('/');
    let path = single_slashes(path);
    Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned())
}

/// Decodes what is percent-encoded. A `%` that encodes nothing, an encoded `/`, and what is no UTF-8 are refused:
/// the path that comes out must be the one that the URL's parts show. Query and fragment are no part of a path.
fn decode(rest: &str) -> Option<String> {
    if rest.contains(['?', '#']) {
        return None;
    }
    if !rest.contains('%') {
        return Some(rest.to_owned());
    }
    let mut after = rest.split('%').skip(1);
    let is_encoded = after.all(|after| {
        let mut digits = after.chars().take(2);
        let both = digits.by_ref().filter(char::is_ascii_hexdigit).count() == 2;
        both && !after
            .get(..2)
            .is_some_and(|code| code.eq_ignore_ascii_case("2f"))
    });
    let decoded = percent_decode_str(rest).decode_utf8().ok()?;
    is_encoded.then(|| decoded.into_owned())
}

/// Rucio joins prefix and path with as many slashes as both bring.
fn single_slashes(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.join("/")
}
