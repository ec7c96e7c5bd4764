import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';

setFlagsFromString('--allow_natives_syntax');
const haveSameShape = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

/** How often an object has another shape than the one before it. V8 keeps some 250 bytes for each shape. */
export const changesOfShape = (objects: readonly object[]): number =>
  objects.filter((object, index) => !haveSameShape(object, objects[Math.max(0, index - 1)] ?? object)).length;
