import { describe, expect, it } from 'vitest';
import { recoverJson, readPythonLiteral } from '../../../../src/lab/rewards/json-recovery.ts';

describe('recoverJson', () => {
  it.each<[string, unknown]>([
    ['{"a": [1, "x"]}', { a: [1, 'x'] }],
    ['Here it is:\n```json\n["a", "b"]\n```\nand ["c"]', ['a', 'b']],
    ['```\n{"n": 3}\n```', { n: 3 }],
    ['I count {"n": 2, "of": ["a } b", "c ] d"]} of them.', { n: 2, of: ['a } b', 'c ] d'] }],
    ['The keypoint\'s list: ["it\'s"]', ["it's"]],
    ['{“a”: “it’s”}', { a: "it's" }],
    ['{"a": True, "b": None, "c": [1, 2,],}', { a: true, b: null, c: [1, 2] }],
    ['{"a": "None, True,]"}', { a: 'None, True,]' }],
    [
      "{'n': 2, 'list': ['it\\'s', \"he's\", 'a \"b\"'], 'none': None}",
      { n: 2, list: ["it's", "he's", 'a "b"'], none: null },
    ],
    ["So: {'n': 1,\n          'list': ['a ] b']} is it", { n: 1, list: ['a ] b'] }],
    ["('a', 'b',)", ['a', 'b']],
    ["['\\u00e9\\n', -1.5e2, True]", ['é\n', -150, true]],
    ['3', 3],
  ])('reads %s', (text, value) => {
    expect(recoverJson(text)).toEqual({ value });
  });

  it.each([
    '',
    'I cannot say.',
    '{"a": ',
    "{'a' 1}",
    '[1 2]',
    '```\nnothing\n```',
    "['a",
    '{{{{',
    '['.repeat(100_000),
    "__import__('os')",
  ])('finds nothing in %.20s', (text) => {
    expect(recoverJson(text)).toBeUndefined();
    expect(readPythonLiteral(text)).toBeUndefined();
  });
});
