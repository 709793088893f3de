import { loadLimits } from '../config/limits.ts';
import { findCached } from '../fetch/cached.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Context } from './context.ts';
import { type FetchRequest, fetchWith } from './fetching.ts';

/** The stored image a reference means, found without loading anything that fetches; or else fetched. */
export async function findOrFetch(
  context: Context,
  request: Omit<FetchRequest, 'limits'>,
): Promise<ImageRecord> {
  const { store, reference, pullPolicy, signature } = request;
  if (signature === undefined) {
    const cached = findCached(reference, { store, pullPolicy, report: context.report });
    if (cached !== undefined) return cached;
  }
  return await fetchWith(context, { ...request, limits: loadLimits(context.directories) });
}
