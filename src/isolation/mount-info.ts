/** A mount of this process's mount namespace. */
export interface HostMount {
  readonly id: string;
  /** The directory of its file system that is mounted. */
  readonly root: string;
  readonly point: string;
  /** What is mounted below it travels to its peers. */
  readonly shared: boolean;
  readonly readOnly: boolean;
  /** Of its file system: `tmpfs`. */
  readonly type: string;
  /** The file system's own. */
  readonly options: readonly string[];
}

/** The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function parseMountInfo(text: string): HostMount[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [id = '', , , root = '', point = '', flags = '', ...optional] = before.split(' ');
      const [type = '', , options = ''] = after.split(' ');
      return {
        id,
        root: unescapePath(root),
        point: unescapePath(point),
        readOnly: flags.split(',').includes('ro'),
        shared: optional.some((field) => field.startsWith('shared:')),
        type,
        options: options.split(','),
      };
    });
}

/** A path as that file has it: space, tab, newline and backslash are written as three octal digits. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
