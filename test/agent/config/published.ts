import { collectors } from '../../../src/agent/collectors/index.ts';
import { settingRows } from '../../../src/core/contract/settings.ts';
import { namesOf } from '../../../src/core/twin/dialect.ts';
import { PUBLISHED_OBJECT, publishedObject } from '../../../src/core/twin/published-object.ts';

/* How the module twin of this agent writes settings, for tests. */

export const publishedDialect = (objectName: string = PUBLISHED_OBJECT) =>
  publishedObject(settingRows(collectors), objectName);

/** Every property, in the order of the docs. */
export const properties = publishedDialect().properties;
export const nameOf = namesOf(properties);
