import { UnpackThread } from './unpack-thread.ts';

/** Unpacking threads that layers take turns on: starting one costs some 15 ms, and memory. */
export class ThreadPool {
  readonly #idle: UnpackThread[] = [];
  readonly #busy = new Set<UnpackThread>();

  /** Starts so many ahead of their work. */
  makeReady(count: number): void {
    while (this.#idle.length < count) this.#idle.push(new UnpackThread());
  }

  /** One that is free, or a new one; whoever asks bounds how many there are. */
  take(): UnpackThread {
    const thread = this.#idle.pop() ?? new UnpackThread();
    this.#busy.add(thread);
    return thread;
  }

  /** One that has finished what it unpacked. */
  giveBack(thread: UnpackThread): void {
    if (this.#busy.delete(thread)) this.#idle.push(thread);
  }

  /** Ends one whose work failed or is not wanted; nothing is written any more when this answers. */
  async drop(thread: UnpackThread): Promise<void> {
    if (this.#busy.delete(thread)) await thread.stop();
  }

  /** Ends them all. */
  async close(): Promise<void> {
    for (const thread of this.#idle.splice(0)) thread.dismiss();
    const busy = [...this.#busy];
    this.#busy.clear();
    await Promise.all(busy.map((thread) => thread.stop()));
  }
}
