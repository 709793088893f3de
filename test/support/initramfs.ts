/** A file of an initramfs: a path below its root, and what is in it. */
export interface InitramfsFile {
  readonly path: string;
  readonly content: Uint8Array;
}

const MODE = { directory: 0o040755, file: 0o100755 };

/** The bytes of an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst, "newc"). */
export function initramfs(files: readonly InitramfsFile[]): Buffer {
  const folders = new Set(files.flatMap(({ path }) => foldersOf(path)));
  const entries = [
    ...[...folders].map((path) => ({ path, mode: MODE.directory, content: Buffer.alloc(0) })),
    ...files.map(({ path, content }) => ({ path, mode: MODE.file, content: Buffer.from(content) })),
    { path: 'TRAILER!!!', mode: 0, content: Buffer.alloc(0) },
  ];
  return Buffer.concat(
    entries.flatMap(({ path, mode, content }, index) => {
      const name = Buffer.from(`${path}\0`);
      return [
        padded(Buffer.concat([header(index + 1, mode, content, name), name])),
        padded(content),
      ];
    }),
  );
}

function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** Inode, mode, uid, gid, links, time, size, four device numbers, length of the name, and no check sum. */
function header(inode: number, mode: number, content: Buffer, name: Buffer): Buffer {
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const digits = fields.map((field) => field.toString(16).padStart(8, '0'));
  return Buffer.from(`070701${digits.join('')}`);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
