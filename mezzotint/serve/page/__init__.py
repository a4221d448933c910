"""The page with a prompt box: plain modules and one stylesheet, served from the package, without a build step."""
