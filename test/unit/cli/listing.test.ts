import { describe, expect, it } from 'vitest';
import { chosenFields, chosenOrder, compareWords } from '../../../src/cli/listing.ts';

interface Entry {
  readonly name: string;
  readonly size?: number;
}

const FIELDS = {
  name: {
    header: 'NAME',
    text: ({ name }: Entry) => name,
    compare: (a: Entry, b: Entry) => compareWords(a.name, b.name),
  },
  size: {
    header: 'SIZE',
    text: ({ size }: Entry) => String(size),
    compare: (a: Entry, b: Entry) => (a.size ?? 0) - (b.size ?? 0),
  },
  note: { header: 'NOTE', text: () => '' },
};
const DEFAULTS = { fields: 'name', full: 'name,size', sort: 'name' };
const ENTRIES: Entry[] = [
  { name: 'b', size: 1 },
  { name: 'a', size: 10 },
  { name: 'c', size: 1 },
];

const sorted = (sort: string, order = 'asc') =>
  ENTRIES.toSorted(chosenOrder(FIELDS, { sort, order })).map(({ name }) => name);

describe('the columns of a list', () => {
  it.each([
    [{}, ['NAME']],
    [{ full: true }, ['NAME', 'SIZE']],
    [{ full: true, fields: 'note' }, ['NOTE']],
    [{ fields: 'SIZE,Name' }, ['SIZE', 'NAME']],
  ])('are, with %j, %j', (options, headers) =>
    expect(chosenFields(FIELDS, DEFAULTS, options).map(({ header }) => header)).toEqual(headers),
  );

  it.each([
    ['', /^--fields: no field "": use name, size, note$/],
    ['name,', /^--fields: no field ""/],
    ['toString', /^--fields: no field "tostring"/],
    ['name,size,name', /^--fields: field "name" is there twice/],
  ])('are no "%s"', (fields, why) =>
    expect(() => chosenFields(FIELDS, DEFAULTS, { fields })).toThrow(why),
  );
});

describe('the order of a list', () => {
  it('is by the first field, then the next', () => {
    expect(sorted('size,name')).toEqual(['b', 'c', 'a']);
  });
  it('is reversed by desc, in any case', () => {
    expect(sorted('name', 'DESC')).toEqual(['c', 'b', 'a']);
  });
  it('of what is equal is kept', () => expect(sorted('size', 'desc')).toEqual(['a', 'b', 'c']));
  it('is not by a field without one', () => {
    expect(() => sorted('note')).toThrow(/^--sort: no field "note": use name, size$/);
  });
  it('is asc or desc', () => expect(() => sorted('name', 'up')).toThrow(/^--order: "up"/));

  it('of names takes digits for the number they make', () => {
    const names = [
      'app:1.10',
      'app:1.9',
      'app',
      'App:2',
      'app:1.09',
      'app:10',
      'b:1',
      'app:1.9-rc',
    ];
    expect(names.toSorted(compareWords)).toEqual([
      'App:2',
      'app',
      'app:1.9',
      'app:1.9-rc',
      'app:1.09',
      'app:1.10',
      'app:10',
      'b:1',
    ]);
  });
});
