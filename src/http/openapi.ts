/**
 * Makes the document that @elysiajs/swagger writes a valid OpenAPI 3.0 one. What TypeBox means in JSON Schema 2020-12 is
 * said in 3.0's own words (`nullable`, `enum` for `const`, a boolean beside each exclusive bound), every answer gets the
 * description it must have, and a route's body is offered in JSON alone unless the route says otherwise.
 */
type Json = null | boolean | number | string | Json[] | JsonObject;
interface JsonObject {
  [key: string]: Json;
}

const METHODS = new Set(['get', 'put', 'post', 'delete', 'patch', 'options', 'head', 'trace']);
/** What @elysiajs/swagger lists when a route names no content type. */
const GUESSED_TYPES = ['application/json', 'multipart/form-data', 'text/plain'];

const STATUS_TEXT: Record<string, string> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No content',
  304: 'Not modified',
  400: 'Cannot be parsed',
  401: 'Not authenticated',
  403: 'Forbidden',
  404: 'Not found',
  409: 'Conflict',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Does not fit the schema',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Temporarily unavailable',
};

export function toOpenApi30(generated: unknown): JsonObject {
  // Through text: drops TypeBox's symbols, functions and `undefined`, and shares nothing with the routes' own schemas.
  const document = asObject(JSON.parse(JSON.stringify(generated)));
  const components = asObject(document.components);
  const paths: JsonObject = {};
  for (const [path, item] of Object.entries(asObject(document.paths))) {
    const operations: JsonObject = {};
    for (const [method, operation] of Object.entries(asObject(item))) {
      if (METHODS.has(method)) operations[method] = fixOperation(asObject(operation), path);
    }
    paths[path.length > 1 ? path.replace(/\/$/, '') : path] = operations;
  }
  const schemas: JsonObject = {};
  for (const [name, schema] of Object.entries(asObject(components.schemas))) schemas[name] = fixSchema(schema);
  return { ...document, openapi: '3.0.3', paths, components: { ...components, schemas } };
}

function fixOperation(operation: JsonObject, path: string): JsonObject {
  const fixed: JsonObject = { ...operation };
  if (Array.isArray(operation.parameters)) {
    const inPath = new Set([...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]));
    fixed.parameters = operation.parameters
      .map((parameter) => fixParameter(asObject(parameter)))
      // A schema of path parameters that covers a whole instance names some which this path does not have.
      .filter((parameter) => parameter.in !== 'path' || inPath.has(String(parameter.name)));
  }
  if (operation.requestBody !== undefined) {
    const body = asObject(operation.requestBody);
    fixed.requestBody = { ...body, content: fixRequestContent(asObject(body.content)) };
  }
  const responses: JsonObject = {};
  for (const [status, answer] of Object.entries(asObject(operation.responses)))
    responses[status] = fixResponse(status, asObject(answer));
  fixed.responses = responses;
  return fixed;
}

function fixRequestContent(content: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(fixContent(content)).map(([type, value]) => {
      const media = asObject(value);
      return [
        type,
        media.schema === undefined ? media : { ...media, schema: withoutDefaulted(asObject(media.schema)) },
      ];
    }),
  );
}

/** What has a default is there after validation, so TypeBox says "required"; a caller may well leave it out. */
function withoutDefaulted(schema: JsonObject): JsonObject {
  if (schema.properties === undefined) return schema;
  const properties = Object.fromEntries(
    Object.entries(asObject(schema.properties)).map(([name, property]) => [name, withoutDefaulted(asObject(property))]),
  );
  const { required, ...rest } = schema;
  const needed = Array.isArray(required)
    ? required.filter((name) => properties[String(name)]?.default === undefined)
    : [];
  return { ...rest, ...(needed.length > 0 && { required: needed }), properties };
}

function fixParameter(parameter: JsonObject): JsonObject {
  const { name = '', in: place = 'query', description, required, schema, examples } = parameter;
  return {
    name,
    in: place,
    required: place === 'path' || (required === true && asObject(schema).default === undefined),
    ...(typeof description === 'string' && { description }),
    ...(Array.isArray(examples) && examples[0] !== undefined && { example: examples[0] }),
    schema: fixSchema(schema ?? { type: 'string' }),
  };
}

function fixResponse(status: string, answer: JsonObject): JsonObject {
  if (answer.$ref !== undefined) return { $ref: answer.$ref };
  const content = fixContent(asObject(answer.content), Number(status) >= 400 ? 'application/problem+json' : undefined);
  return {
    description: typeof answer.description === 'string' ? answer.description : (STATUS_TEXT[status] ?? 'The answer'),
    ...(answer.headers !== undefined && { headers: answer.headers }),
    ...(Object.keys(content).length > 0 && { content }),
  };
}

function fixContent(content: JsonObject, only?: string): JsonObject {
  const types = Object.keys(content);
  const guessed = types.length === GUESSED_TYPES.length && GUESSED_TYPES.every((type) => type in content);
  if ((guessed || only !== undefined) && types[0] !== undefined) {
    return { [only ?? 'application/json']: fixMedia(asObject(content[types[0]])) };
  }
  return Object.fromEntries(Object.entries(content).map(([type, media]) => [type, fixMedia(asObject(media))]));
}

function fixMedia(media: JsonObject): JsonObject {
  return media.schema === undefined ? media : { ...media, schema: fixSchema(media.schema) };
}

/** One schema of JSON Schema 2020-12 in the words of OpenAPI 3.0. */
function fixSchema(value: Json): JsonObject {
  const schema = asObject(value);
  if (typeof schema.$ref === 'string') {
    return { $ref: schema.$ref.startsWith('#') ? schema.$ref : `#/components/schemas/${schema.$ref}` };
  }
  const fixed: JsonObject = {};
  for (const [key, part] of Object.entries(schema)) {
    switch (key) {
      case '$id':
      case '$schema':
      case 'patternProperties':
      case 'propertyNames':
      case 'const':
      case 'examples':
      case 'exclusiveMinimum':
      case 'exclusiveMaximum':
      case 'additionalItems':
      case 'unevaluatedProperties':
      case 'error':
      case 'transform':
      case 'contentEncoding':
      case 'contentMediaType':
      case 'extension':
      case 'maxSize':
      case 'minSize':
        break;
      case 'properties':
        fixed.properties = Object.fromEntries(
          Object.entries(asObject(part)).map(([name, property]) => [name, fixSchema(property)]),
        );
        break;
      case 'items':
        fixed.items = Array.isArray(part) ? { anyOf: part.map(fixSchema) } : fixSchema(part);
        break;
      case 'additionalProperties':
        fixed.additionalProperties = typeof part === 'boolean' ? part : fixSchema(part);
        break;
      case 'allOf':
      case 'anyOf':
      case 'oneOf':
      case 'not':
        fixed[key] = Array.isArray(part) ? part.map(fixSchema) : fixSchema(part);
        break;
      case 'required':
        if (Array.isArray(part) && part.length > 0) fixed.required = part;
        break;
      default:
        fixed[key] = part;
    }
  }
  if (schema.const !== undefined) fixed.enum = [schema.const];
  if (Array.isArray(schema.examples) && fixed.example === undefined && schema.examples[0] !== undefined)
    fixed.example = schema.examples[0];
  if (typeof schema.exclusiveMinimum === 'number')
    Object.assign(fixed, { minimum: schema.exclusiveMinimum, exclusiveMinimum: true });
  if (typeof schema.exclusiveMaximum === 'number')
    Object.assign(fixed, { maximum: schema.exclusiveMaximum, exclusiveMaximum: true });
  if (schema.patternProperties !== undefined) {
    const [values] = Object.values(asObject(schema.patternProperties));
    fixed.additionalProperties = values === undefined ? true : fixSchema(values);
  }
  return withoutOddTypes(fixed);
}

function withoutOddTypes(schema: JsonObject): JsonObject {
  if (schema.type === 'File') return { ...schema, type: 'string', format: 'binary' };
  if (schema.type === 'Files') return { ...schema, type: 'array', items: { type: 'string', format: 'binary' } };
  if (schema.type === 'Date') return { ...schema, type: 'string', format: 'date-time' };
  if (schema.type === 'null') return { nullable: true, enum: [null] };
  if (Array.isArray(schema.type)) {
    const [type = 'string'] = schema.type.filter((one) => one !== 'null');
    return { ...schema, type, ...(schema.type.includes('null') && { nullable: true }) };
  }
  if (schema.type === 'number' && schema.multipleOf === 1) {
    const { multipleOf: _, ...rest } = schema;
    return { ...rest, type: 'integer' };
  }
  return schema.anyOf === undefined ? schema : foldUnion(schema);
}

/** `anyOf [A, null]` is a nullable A, and a union of constants one enum. */
function foldUnion(schema: JsonObject): JsonObject {
  const { anyOf, ...rest } = schema;
  const all = Array.isArray(anyOf) ? anyOf.map(asObject) : [];
  const some = all.filter((option) => !isNull(option));
  const nullable = some.length < all.length;
  const note: JsonObject = nullable ? { ...rest, nullable: true } : rest;
  const [first] = some;
  if (first === undefined) return { ...rest, nullable: true, enum: [null] };
  if (some.every((option) => Array.isArray(option.enum) && option.type === first.type)) {
    const values = some.flatMap((option) => (Array.isArray(option.enum) ? option.enum : []));
    return { ...first, ...note, enum: nullable ? [...values, null] : values };
  }
  if (some.length > 1) return { ...note, anyOf: some };
  // Beside a `$ref` 3.0 ignores everything, so the reference is wrapped.
  return first.$ref !== undefined ? { ...note, allOf: [first] } : { ...first, ...note };
}

function isNull(schema: JsonObject): boolean {
  return schema.nullable === true && Array.isArray(schema.enum) && schema.enum.length === 1 && schema.enum[0] === null;
}

function asObject(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}
