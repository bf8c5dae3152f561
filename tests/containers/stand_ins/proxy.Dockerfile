# nginxinc/nginx-unprivileged: Debian's.
FROM stand-in-debian-testing
CMD ["nginx", "-g", "daemon off;"]
