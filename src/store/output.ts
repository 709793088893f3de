/** How `exportImage` treats what is already there. */
export interface ExportOptions {
  /** Replace an existing file. */
  readonly overwrite: boolean;
}

/** How `extractImage` and `renderImage` write a directory. */
export interface OutputOptions {
  /** Replace an existing directory and everything in it. */
  readonly overwrite: boolean;
  /** The root file system's entries go straight into the directory, the manifest nowhere. */
  readonly rootfsOnly: boolean;
}
