/**
 * The folder of a partition with the file in it that says whose it is, until both are known to be durable. What must stay
 * true: names and file are part of every flush round until one has succeeded, so that no record counts in a folder that
 * nobody could tell the owner of after a power cut.
 */
import { PARTITION_METADATA_FILE } from "../src/log/Checkpoints.ts";
import { type Disk, DiskError, type DiskFile } from "../src/platform/Disk.ts";
import { isPending, type MaybePending } from "../src/prelude/Types.ts";

export class NewFolder {
  /** What a round must flush. */
  files: ReadonlyArray<DiskFile>;

  private constructor(
    private readonly disk: Disk,
    private readonly file: DiskFile,
    private readonly content: Uint8Array,
    /** Whose entries a round must flush. */
    readonly directories: ReadonlyArray<string>,
  ) {
    this.files = [file];
  }

  /** Makes the folder in `parent`, or what is missing of it; `content`: of its file. */
  static write(disk: Disk, folder: string, parent: string, content: Uint8Array): MaybePending<NewFolder> {
    disk.makeDirectory(folder);
    const file = disk.open(`${folder}/${PARTITION_METADATA_FILE}`, "write");
    if (file.size() > content.length) file.truncate(content.length);
    const written = (taken: number): NewFolder => {
      if (taken < content.length)
        throw new DiskError("OTHER", "write", file.path, `${taken} of ${content.length} bytes`);
      return new NewFolder(disk, file, content, [folder, parent]);
    };
    const writing = file.write([content], 0);
    return isPending(writing) ? writing.then(written) : written(writing);
  }

  /** After a failed flush: in a file of its own, at once. As long as that fails too the old one is owed, and no round succeeds. */
  replace(): void {
    try {
      this.disk.replaceFile(this.file.path, this.content);
      this.files = [];
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  close(): void {
    this.file.close();
  }
}
