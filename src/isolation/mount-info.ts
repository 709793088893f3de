/** A mount of this process's mount namespace. */
export interface HostMount {
  readonly id: string;
  readonly point: string;
  /** What is mounted below it travels to its peers. */
  readonly shared: boolean;
}

/** The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function parseMountInfo(text: string): HostMount[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [before = ''] = line.split(' - ');
      const [id = '', , , , point = '', , ...optional] = before.split(' ');
      return {
        id,
        point: unescapePath(point),
        shared: optional.some((field) => field.startsWith('shared:')),
      };
    });
}

/** A path as that file has it: space, tab, newline and backslash are written as three octal digits. */
export function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
