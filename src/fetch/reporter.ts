/** The bytes of one download, as they come. */
export interface Transfer {
  /** So many more bytes came; negative when a download starts over. */
  advance(bytes: number): void;
  /** No more bytes come, whether all came or not. */
  done(): void;
}

/** Where fetching says what it does. Lines are whole, without a newline, and never hold a secret. */
export interface Reporter {
  info(line: string): void;
  debug(line: string): void;
  warn(line: string): void;
  /** A download begins; `total` is its size in bytes where the server says it. */
  transfer(label: string, total?: number): Transfer;
}
