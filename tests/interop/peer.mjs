// Signs and verifies requests with the npm packages of this folder. Reads one JSON document, writes one:
//   {"package", "sign": {"private_key", "method", "url", "headers", "components", "parameters"}} -> {"signature-input", "signature"}
//   {"package", "verify": {"public_key", "method", "url", "headers", "components"}} -> {"verified": true | false, "why"}
// Keys are JWKs, headers an object of strings, parameters an object in the order in which they are to stand.
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

// where build.sh installs them
const require = createRequire(new URL("../../.build/interop/", import.meta.url));
const ALGORITHM = "ed25519";
const LABEL = "cmp";

const packages = {
    "http-message-sig": {
        async sign({ private_key, method, url, headers, components, parameters }) {
            const { createSignature } = require("http-message-sig");
            const signer = { algorithm: ALGORITHM, sign: async (base) => new Uint8Array(sign(null, base, private_key)) };
            const made = await createSignature(message(method, url, headers), { label: LABEL, components, parameters, signer });
            return { "signature-input": made.signatureInput, signature: made.signature };
        },
        async verify({ public_key, method, url, headers, components }) {
            const { verifySignature } = require("http-message-sig");
            const verifier = { algorithm: ALGORITHM, verify: async (base, signature) => verify(null, base, public_key, signature) };
            const policy = { algorithms: [ALGORITHM], requiredComponents: components, requiredParameters: ["created", "expires", "keyid"] };
            await verifySignature(message(method, url, headers), { label: LABEL, policy, resolveVerifier: () => verifier });
            return true;
        },
    },
    "http-message-signatures": {
        async sign({ private_key, method, url, headers, components, parameters }) {
            const { httpbis } = require("http-message-signatures");
            const key = { id: parameters.keyid, alg: ALGORITHM, sign: async (base) => sign(null, base, private_key) };
            const dates = { created: new Date(parameters.created * 1000), expires: new Date(parameters.expires * 1000) };
            const settings = { key, name: LABEL, fields: components, params: Object.keys(parameters), paramValues: { ...parameters, ...dates } };
            const signed = await httpbis.signMessage(settings, { method, url, headers });
            return { "signature-input": signed.headers["Signature-Input"], signature: signed.headers.Signature };
        },
        async verify({ public_key, method, url, headers, components }) {
            const { httpbis } = require("http-message-signatures");
            const key = { algs: [ALGORITHM], verify: async (base, signature) => verify(null, base, public_key, signature) };
            const settings = { keyLookup: async () => key, requiredFields: components, requiredParams: ["created", "expires", "keyid"], all: true };
            return (await httpbis.verifyMessage(settings, { method, url, headers })) === true;
        },
    },
};

function message(method, targetUri, headers) {
    const fields = Object.entries(headers).map(([name, value]) => ({ name, value }));
    return { kind: "request", method, targetUri, fields };
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const peer = packages[asked.package];
if (asked.sign) {
    const private_key = createPrivateKey({ key: asked.sign.private_key, format: "jwk" });
    console.log(JSON.stringify(await peer.sign({ ...asked.sign, private_key })));
} else {
    const public_key = createPublicKey({ key: asked.verify.public_key, format: "jwk" });
    const answer = await peer.verify({ ...asked.verify, public_key }).then((verified) => ({ verified }), (why) => ({ verified: false, why: String(why) }));
    console.log(JSON.stringify(answer));
}
