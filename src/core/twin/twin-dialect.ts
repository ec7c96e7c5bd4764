import { EVENTS } from '../contract/events.ts';
import { settingRows } from '../contract/settings.ts';
import type { Dialect } from './dialect.ts';
import { publishedObject } from './published-object.ts';

/** The dialect of the module twin. @param objectName `twinObjectName` of the local file, by default that setting's default */
export const twinDialect = (objectName?: string): Dialect =>
  publishedObject(settingRows(Object.values(EVENTS)), objectName);
