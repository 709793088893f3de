import { posix } from 'node:path';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { type TarEntry, TarReader } from '../store/tar-reader.ts';
import { type ArchiveBytes, type ContentFiles, missing, piecesOf } from './content-files.ts';

/** Where in the archive a file's content lies. */
interface Member {
  readonly offset: number;
  readonly size: number;
}

const BLOCK = 512;
/** An image has a few files for each layer; nothing has this many. */
const maxMembers = 20_000;
/** docker's links lead from one layer to another, once. */
const maxLinks = 8;

/**
 * The files of a tar archive, found by their headers alone and read where they lie: nothing is unpacked,
 * so no name in it leads anywhere.
 */
export class ArchiveFiles implements ContentFiles {
  readonly shown: string;
  readonly #archive: ArchiveBytes;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #links: ReadonlyMap<string, string>;

  private constructor(
    shown: string,
    archive: ArchiveBytes,
    members: ReadonlyMap<string, Member>,
    links: ReadonlyMap<string, string>,
  ) {
    this.shown = shown;
    this.#archive = archive;
    this.#members = members;
    this.#links = links;
  }

  /**
   * Reads the headers of an archive, which is closed with what this answers.
   * @throws GantryError `invalid-archive`
   */
  static read(shown: string, archive: ArchiveBytes): ArchiveFiles {
    const table = new MemberTable(shown);
    const reader = new TarReader(table);
    for (let at = 0; at < archive.size; ) {
      // Block by block, so that a member's content always begins where a piece ends.
      const piece = archive.read(at, BLOCK - (at % BLOCK));
      if (piece.length === 0) break;
      at += piece.length;
      table.contentAt = at;
      reader.push(piece);
      const ahead = reader.contentAhead;
      if (ahead > archive.size - at) throw refused(shown, 'it is truncated');
      reader.skipContent();
      at += ahead;
    }
    reader.endUnmarked();
    return new ArchiveFiles(shown, archive, table.members, table.links);
  }

  has(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  size(path: string): number | undefined {
    return this.#find(path)?.size;
  }

  pieces(path: string): AsyncIterable<Buffer> {
    const member = this.#find(path);
    if (member === undefined) throw missing(this.shown, path);
    return piecesOf(this.#archive, member.offset, member.size);
  }

  close(): void {
    this.#archive.close();
  }

  /** Links are followed within the archive only, as names and not as paths of any file system. */
  #find(path: string): Member | undefined {
    let name = posix.normalize(path);
    for (let links = 0; links <= maxLinks; links++) {
      const target = this.#links.get(name);
      if (target === undefined) return this.#members.get(name);
      name = target;
    }
    throw refused(this.shown, `its links lead from ${quote(path)} to each other`);
  }
}

/** Notes what the archive holds as its headers come by. */
class MemberTable {
  readonly members = new Map<string, Member>();
  readonly links = new Map<string, string>();
  /** Where the content would begin of a member whose header is being read. */
  contentAt = 0;
  readonly #shown: string;
  #count = 0;

  constructor(shown: string) {
    this.#shown = shown;
  }

  entry({ type, name, linkName, size }: TarEntry): void {
    this.#count++;
    if (this.#count > maxMembers) throw refused(this.#shown, `more than ${maxMembers} members`);
    const path = memberPath(this.#shown, name);
    if (type === 'directory') return;
    if (this.members.has(path) || this.links.has(path)) {
      // Readers differ in which of the two counts.
      throw refused(this.#shown, `it holds ${quote(path)} twice`);
    }
    if (type === 'file') {
      this.members.set(path, { offset: this.contentAt, size });
    } else if (type === 'symlink') {
      this.links.set(path, memberPath(this.#shown, posix.join(posix.dirname(path), linkName)));
    } else if (type === 'hard-link') {
      this.links.set(path, memberPath(this.#shown, linkName));
    } else {
      throw refused(this.#shown, `${quote(path)} is a ${type}`);
    }
  }

  content(): void {
    // A header's block never holds any.
  }

  entryEnd(): void {}
}

/** A member's path without `./` and slashes around it. */
function memberPath(shown: string, name: string): string {
  const path = posix.normalize(name).replace(/\/+$/, '');
  if (path.startsWith('/') || path.split('/').includes('..') || name.includes('\0')) {
    throw refused(shown, `its member ${quote(name)} leads out of it`);
  }
  return path;
}

function refused(shown: string, why: string): GantryError {
  return new GantryError('invalid-archive', `${shown}: ${why}`);
}
