import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';

setFlagsFromString('--allow_natives_syntax');
const haveSameShape = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

/** How often an object has a different shape than the previous one. V8 keeps about 250 bytes for each shape. */
export const changesOfShape = (objects: readonly object[]): number =>
  objects.filter((object, index) => !haveSameShape(object, objects[Math.max(0, index - 1)] ?? object)).length;
