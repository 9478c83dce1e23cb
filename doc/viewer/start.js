// A file of its own, so that the page needs no inline script.
SwaggerUIBundle({
    url: '/openapi.yaml',
    dom_id: '#page',
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,          // /docs#/Bids/placeBid
    filter: true,
    showExtensions: true,       // x-roles and x-foreign are part of what is promised
    showCommonExtensions: true, // bounds and patterns
    defaultModelsExpandDepth: 0,
    validatorUrl: null,         // nothing is asked of other hosts
});
