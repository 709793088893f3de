/**
 * Does work on each item, so many at once, in order of their beginning. After the first failure no
 * further item is begun; what is under way is told by `abandon`, waited for, and then the failure is
 * thrown.
 */
export async function throughLanes<Item>(
  items: Iterable<Item>,
  lanes: number,
  work: (item: Item) => Promise<void>,
  abandon: (reason: unknown) => void = () => undefined,
): Promise<void> {
  const waiting = [...items];
  let failure: { readonly error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    try {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        await work(item);
      }
    } catch (error) {
      waiting.length = 0;
      failure ??= { error };
      abandon(error);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, waiting.length) }, lane));
  if (failure !== undefined) throw failure.error;
}
