//! Reading side files back: nothing of them goes into the log again, but a recovery that was cut asks whether one has what it is
//! to keep, and verifying whether it is sound.

use std::sync::Arc;

use eventfold_io::{Access, Disk, DiskFile, IoError};

use crate::files::FileError;
use crate::files::side_file::{SIDE_FILE_HEADER_LEN, SideFile};

/// The head of a side file, and the file that its pieces are to be read from.
type Opened = (SideFile, Arc<dyn DiskFile>);

/// Opens a side file that may be damaged.
pub(crate) fn read_side_file(disk: &dyn Disk, name: &str) -> Result<Result<Opened, FileError>, IoError> {
    let file = disk.open(name, Access::Read)?;
    let file_len = file.len()?;
    let mut head = vec![0; SIDE_FILE_HEADER_LEN];
    let len = file.read_at(&mut head, 0)?;
    let head_len = match SideFile::head_len(&head[..len], file_len) {
        Ok(head_len) => head_len,
        Err(error) => return Ok(Err(error)),
    };
    head.resize(head_len, 0);
    file.read_exact_at(&mut head, 0)?;
    Ok(SideFile::decode(&head, file_len).map(|side_file| (side_file, file)))
}
